"""Command ``follow-plan``: one look of ``follow`` at what has arrived, in a process of its own.

What follows runs for weeks, and neither settings nor code that were changed meanwhile may be those
of when it was started. So each plan has a new process.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import TypedDict

from shoal.errors import DataError
from shoal.formats.documents.judgement import DriftReport
from shoal.formats.json_file import read_made
from shoal.formats.text import count_text
from shoal.operate.plan_report import plan_document
from shoal.plan.layout import Layout
from shoal.plan.paths import inputs
from shoal.plan.running import has_stale_lock
from shoal.plan.stages import STAGES
from shoal.sources.shards import mark_of
from shoal.terminal import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from shoal.operate.plan_document import PlanDocument
    from shoal.plan.plan import Plan
    from shoal.sources.shards import Mark


@dataclass(frozen=True)
class Conditions:
    """What starts a run; without any of them every change does.

    Attributes:
        rows: Rows that have come or gone since the last release.
        drift: Whether rows that differ from those of the last release start a run, however few.
        most_cost: Share of the cost of a full run that a run may have at most.
    """

    rows: int | None = None
    drift: bool = False
    most_cost: float | None = None


class Decision(TypedDict):
    """What is to be done.

    Attributes:
        command: Snakemake's command line; None where nothing is to run.
        sentence: What is done, or why nothing is.
        again: Whether a file changed while it was read, so that nothing is decided.
    """

    command: list[str] | None
    sentence: str
    again: bool


def decide(
    plan: Plan,
    plans: Sequence[Plan],
    marks: Mapping[Path, Mark],
    conditions: Conditions,
    profile: str | None,
    cores: str,
) -> Decision:
    """Plan a run of files that have settled; makes the partition index, trains nothing.

    Args:
        plan: The plan of the variant that is to run.
        plans: It, and those that it is compared with.
        marks: The files, and their marks of before the plan read them.
        conditions: What starts a run.
        profile: Snakemake's profile.
        cores: Its number of cores, or ``all``.

    Raises:
        SettingsError: See :func:`shoal.operate.plan_report.plan_document`.
        SystemExit: Snakemake failed to make the index; with its exit code.
    """
    other = _other(plan, marks)
    if other:
        return _nothing(
            f"{other[0]}: changed while the plan read it; nothing of it is used", again=True
        )
    document = plan_document(plan, profile, cores)
    if not document["jobs"]:
        return _nothing("nothing to do")
    waits = next(_reasons_to_wait(plan, document, conditions), None)
    if waits:
        return _nothing(f"waits: {waits}")
    options = ["--profile", profile] if profile else []
    command = plan.snakemake("--cores", cores, *options, plans=plans)
    return {"command": command, "sentence": f"runs {_said(document)}", "again": False}


def remove_stale_lock(plan: Plan, plans: Sequence[Plan], settle: float) -> None:
    """Remove the lock of a Snakemake that was killed, if no run lives now nor a while later.

    Args:
        plan: The plan of the variant that is to run.
        plans: It, and those that it is compared with.
        settle: The while in seconds, in which a run that has just begun says that it lives.

    Raises:
        DataError: Snakemake does not remove it.
    """
    if not has_stale_lock(plan.root.parent):
        return
    time.sleep(settle)
    if not has_stale_lock(plan.root.parent):
        return
    say("a run was killed and left its lock; no run is in progress, so the lock is removed")
    command = plan.snakemake("--unlock", plans=plans)
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode:
        raise DataError(f"`snakemake --unlock` failed: {' '.join(done.stderr.split())[-300:]}")


def _nothing(sentence: str, *, again: bool = False) -> Decision:
    return {"command": None, "sentence": sentence, "again": again}


def _other(plan: Plan, marks: Mapping[Path, Mark]) -> list[Path]:
    """Files that are not what they were before the plan read them."""
    planned = {path for path, _ in plan.shards.values()}
    return sorted(path for path in planned ^ set(marks)) or [
        path for path, mark in sorted(marks.items()) if mark_of(path) != mark
    ]


def _reasons_to_wait(plan: Plan, document: PlanDocument, conditions: Conditions) -> Iterator[str]:
    """Why a run is not started; the first run of an experiment always is."""
    if document["release"] is None:
        return
    if document["exact"] and (conditions.rows is not None or conditions.drift):
        rows = _rows(document)
        enough = conditions.rows is not None and (rows is None or rows >= conditions.rows)
        if not enough and not (conditions.drift and _have_drifted(plan)):
            limit = f", {count_text(conditions.rows)} start a run" if conditions.rows else ""
            drift = ", they do not differ from those of the release" if conditions.drift else ""
            yield f"{_rows_text(rows)} came or went{limit}{drift}"
    share = _share(document)
    if conditions.most_cost is not None and share > conditions.most_cost:
        yield (
            f"this run would cost {100 * share:.1f} % of a full one, and at most "
            f"{100 * conditions.most_cost:g} % may be spent"
        )


def _rows(document: PlanDocument) -> int | None:
    """Rows of partitions that came or went since the release; None where that is not known."""
    pairs = [pair for part in document["partitions"] for pair in part["changes"].values()]
    return sum(sum(pair) for pair in pairs if pair) if None not in pairs else None


def _rows_text(rows: int | None) -> str:
    return "an unknown number of rows" if rows is None else f"{count_text(rows)} rows"


def _share(document: PlanDocument) -> float:
    """Cost of the run in that of a full one: FLOPs, else seconds, else jobs."""
    percent = document["total"]["percent"]
    shares = (percent["flops"], percent["seconds"], percent["jobs"])
    return next(share for share in shares if share is not None) / 100


def _said(document: PlanDocument) -> str:
    count, share = len(document["jobs"]), 100 * _share(document)
    jobs = "1 job" if count == 1 else f"{count_text(count)} jobs"
    if document["release"] is None or not document["exact"]:
        return f"at most {jobs}"
    return f"{jobs}, {share:.1f} % of a full run: {_rows_text(_rows(document))} came or went"


def _have_drifted(plan: Plan) -> bool:
    """Whether rows that came since the release differ from its own.

    The comparison is that of ``evaluate_drift``, with the release in place of the generation's fit:
    what the pool has learnt already is no news.
    """
    from shoal.evaluate.drift_command import drift_sample, evaluate_drift

    published = plan.history.current
    if published is None:
        return True
    earlier = Layout.from_json(published["layout"])
    index = earlier.read_index()
    same = (earlier.folder, earlier.fits["cluster"])
    if index is None or same != (plan.layout.folder, plan.layout.fits["cluster"]):
        return True
    files = inputs(earlier, STAGES["evaluate_drift"], {}, index)
    router, embedder, choices = (files[name] for name in ("router", "embedder", "choices"))
    assert isinstance(router, Path) and isinstance(embedder, Path) and isinstance(choices, list)  # noqa: S101, PT018
    basis, drift = earlier.files("assign.rows"), plan.settings.changes.drift
    with tempfile.TemporaryDirectory() as scratch:
        sample, out = Path(scratch, "sample.safetensors"), Path(scratch, "drift.json")
        drift_sample(drift, basis, embedder, sample)
        evaluate_drift(drift, plan.layout.index, basis, sample, router, embedder, choices, [], out)
        return read_made(out, DriftReport)["recommendation"]["action"] != "keep"
