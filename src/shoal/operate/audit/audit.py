"""Whether every artifact is what the current index and settings say it is.

Nothing that Snakemake keeps is read: records inside the artifacts, the index and the layout are
compared with each other, so a results folder that was copied elsewhere is judged like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shoal.errors import ShoalError
from shoal.operate.audit.checks import CHECKS
from shoal.operate.audit.evidence import Evidence, Finding
from shoal.operate.audit.index import judged_index
from shoal.operate.audit.records import check_packs, check_records, settle
from shoal.plan.jobs import files_of
from shoal.plan.stages import INDEX, STAGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from shoal.plan.jobs import Job
    from shoal.plan.plan import Plan


@dataclass(frozen=True)
class Report:
    """Findings of an audit.

    Attributes:
        artifacts: How many files the plan has, as far as it is known.
        findings: What is wrong, one per file and reason.
        missing: Files that are not there.
        refit_needed: Stages whose code has changed since the generation was fitted; no mismatch,
            because a generation is frozen.
        complete: Whether there was an index, without which nothing after it is checked.
    """

    artifacts: int
    findings: tuple[Finding, ...]
    missing: tuple[Path, ...]
    refit_needed: tuple[str, ...]
    complete: bool

    @property
    def agrees(self) -> bool:
        """Whether every artifact is there and is what it should be."""
        return not self.findings and not self.missing

    def __add__(self, other: Report) -> Report:
        """Findings of both."""
        return Report(
            self.artifacts + other.artifacts,
            self.findings + other.findings,
            self.missing + other.missing,
            self.refit_needed + other.refit_needed,
            self.complete and other.complete,
        )

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "artifacts": self.artifacts,
            "mismatches": [finding.as_json() for finding in self.findings],
            "missing": [str(path) for path in self.missing],
            "refit_needed": list(self.refit_needed),
            "complete": self.complete,
        }


def audit(plan: Plan) -> Report:
    """Check every artifact of a plan. Reads all of them, one at a time.

    A file whose input is itself found wrong or missing is not blamed for that.

    Args:
        plan: The experiment.
    """
    evidence = Evidence(plan)
    jobs = list(plan.layout.early_jobs())
    _check_all((job for job in jobs if job.rule != INDEX), evidence)
    index = judged_index(evidence)
    later = [job for job in jobs if job.rule == INDEX]
    if index is not None:
        evidence.index = index
        later += plan.layout.later_jobs(index)
    _check_all(later, evidence)
    jobs += later[1:]
    check_packs(evidence)
    settle(evidence)
    return Report(
        artifacts=len(files_of(jobs)),
        findings=tuple(evidence.findings),
        missing=tuple(evidence.missing),
        refit_needed=tuple(dict.fromkeys(_refit_needed(jobs, evidence))),
        complete=index is not None,
    )


def _check_all(jobs: Iterable[Job], evidence: Evidence) -> None:
    for job in jobs:
        evidence.makers |= dict.fromkeys(job.outputs, job)
        there = [path for path in job.outputs if _is_whole(path, job, evidence)]
        check_records(there, job, evidence)
        if there == list(job.outputs) and job.rule in CHECKS:
            _check_rule(job, evidence)


def _is_whole(path: Path, job: Job, evidence: Evidence) -> bool:
    """Whether the file is there and reads; says so if not."""
    if not path.exists():
        evidence.miss(path)
        return False
    try:
        evidence.read(path)
    except ShoalError as error:
        evidence.blame(path, str(error).removeprefix(f"{path}: "), evidence.remedy(job))
        return False
    return True


def _check_rule(job: Job, evidence: Evidence) -> None:
    try:
        CHECKS[job.rule](job, evidence)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"its record is not one of {job.rule} ({type(error).__name__}: {error})"
        evidence.blame(job.outputs[0], reason, evidence.remedy(job))


def _refit_needed(jobs: Iterable[Job], evidence: Evidence) -> Iterator[str]:
    """Stages of the generation that were fitted by other code than there is now."""
    for job in jobs:
        stage = STAGES[job.rule]
        for path in job.outputs if stage.frozen else ():
            if path.exists() and not evidence.is_blamed(path):
                record = evidence.read(path).made_from
                if record and record.get("code") != evidence.plan.fit_codes[stage.identity]:
                    yield stage.identity
