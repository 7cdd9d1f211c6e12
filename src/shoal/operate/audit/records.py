"""Compare the records of artifacts with the files that are there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from shoal.errors import ShoalError
from shoal.plan.paths import outputs, recorded_inputs
from shoal.plan.stages import STAGES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shoal.operate.audit.evidence import Evidence
    from shoal.plan.jobs import Job

_WEIGHTS = "model.safetensors"


def check_records(paths: Iterable[Path], job: Job, evidence: Evidence) -> None:
    """Compare the inputs that artifacts name with those of their job, and note their hashes.

    Args:
        paths: Artifacts of the job.
        job: The job that makes them, none of its inputs later in the audit than itself.
        evidence: Takes what is found; :func:`settle` then says which file is wrong.
    """
    stage = STAGES[job.rule]
    of_job = evidence.plan.layout, stage, job.wildcards, evidence.index
    partly = stage.frozen or stage.per == "variants"  # made from what is gone, or another variant's
    inputs = None if partly else recorded_inputs(*of_job)
    names = {path: name for name, path in outputs(*of_job).items()}
    for path in paths:
        if names[path] not in stage.unrecorded:
            _check_record(path, job, inputs, evidence)


def _check_record(path: Path, job: Job, inputs: list[Path] | None, evidence: Evidence) -> None:
    """Compare what one artifact names; of some, see above, what is there of this variant.

    A fit's source files have moved on too.
    """
    record = evidence.read(path).made_from
    files = None if record is None else record.get("files")
    if not isinstance(files, dict):
        evidence.blame(path, "does not say what it was made from", evidence.remedy(job))
        return
    if inputs is None:
        inputs = [each for name in files if (each := Path(name)) in evidence.makers]
    else:
        problem = _difference(set(files), {str(each) for each in inputs}, job)
        if problem is not None:
            evidence.blame(path, problem, evidence.remedy(job))
            return
    for each in inputs:
        evidence.compare(path, each, files[str(each)])


def check_packs(evidence: Evidence) -> None:
    """Compare specialists with what the packs that trained them have noted.

    Ledgers aside: a specialist that was made again has the same weights, not the same costs.
    """
    for status in sorted(evidence.plan.layout.folder.glob("packs/*/*.json")):
        try:
            noted = {
                Path(folder, _WEIGHTS): files[_WEIGHTS]
                for folder, files in evidence.content(status).items()
            }
        except (ShoalError, AttributeError, KeyError, TypeError):
            evidence.blame(status, "is no record of a pack", "remove it")
            continue
        for path, content in noted.items():
            if path in evidence.makers and not evidence.is_blamed(path):
                _check_noted(path, content, status, evidence)


def _check_noted(path: Path, content: str, status: Path, evidence: Evidence) -> None:
    if evidence.hash(path) == content:
        return
    if path in evidence.confirmed:
        evidence.blame(status, f"lists another {path} than the one that is there", "remove it")
        return
    again = evidence.remedy(evidence.makers[path])
    advice = f"{again}; if it comes out the same, remove {status}"
    evidence.blame(path, f"is not the file that {status} lists", advice)


def _difference(said: set[str], expected: set[str], job: Job) -> str | None:
    """How the names of an artifact's inputs differ from those of its job."""
    for name in sorted(() if "sources" in STAGES[job.rule].settings else said - expected):
        return f"was made from {name}, which is not what this path stands for"
    for name in sorted(expected - said):
        return f"does not say that it was made from {name}"
    return None


def settle(evidence: Evidence) -> None:
    """Say which file is wrong where an artifact was made from another one than is there.

    If other artifacts were made from the one that is there, the artifact is stale. If nothing
    was, the file is another than it used to be.
    """
    disputes = evidence.disputes
    for source in [source for source in disputes if source in evidence.confirmed]:
        for path in dict.fromkeys(disputes.pop(source)):
            if not evidence.is_blamed(path):
                problem = f"was made from another {source} than the one that is there"
                evidence.blame(path, problem, evidence.remedy(evidence.makers[path]))
    for source, paths in disputes.items():
        if not evidence.is_blamed(source):
            others = len(set(paths)) - 1
            more = f" and {others} more" if others else ""
            problem = f"is not the file that there was when {paths[0]}{more} was made from it"
            again = evidence.remedy(evidence.makers[source])
            evidence.blame(source, problem, f"{again}; if it comes out the same, remove those")
