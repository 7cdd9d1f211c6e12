"""Specialists whose training failed: recorded when a run ends, left out if the settings allow."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING

from shoal.errors import ERROR
from shoal.files import write_json
from shoal.pool.incomplete import Failure, read_failed
from shoal.workflow.run_log import failed_jobs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from shoal.workflow.run_log import FailedJob

FAILED = "failed.json"
"""The record, in the experiment's results folder."""


_FAILED_MEMBER = re.compile(r"(\w+)/(\w+): failed, (.*); its log: (.*)$")
"""What a pack's log says of a member."""


def record_failed(path: Path, found: Iterable[Failure] = ()) -> None:
    """Add failures to the record of an experiment; drop those that have been trained since.

    Args:
        path: Its ``failed.json``, which is there only while there is a failure.
        found: What failed in this run.
    """
    known = {(each.specialists, each.name): each for each in (*read_failed(path), *found)}
    failures = [known[name] for name in sorted(known) if not known[name].is_over]
    if failures:
        write_json(path, {"specialists": [asdict(each) for each in failures]})
    else:
        path.unlink(missing_ok=True)


def failed_specialists(text: str) -> Iterator[Failure]:
    """Specialists that Snakemake's log, a text, says have failed."""
    for job in failed_jobs(text):
        if job.rule == "train_specialist":
            folder, (digest, point) = job.outputs[0].parents[2], job.outputs[0].parts[-3:-1]
            yield Failure(str(folder), digest, point, _reason(job), str(job.log))
        elif job.rule == "train_pack" and job.log is not None and job.log.exists():
            status = job.outputs[0]
            folder = status.parents[2] / "specialists" / status.parent.name
            for line in job.log.read_text(errors="replace").splitlines():
                if found := _FAILED_MEMBER.match(line):
                    yield Failure(str(folder), *found.groups())


def left_out(path: Path, specialists: Path, points: Iterable[str]) -> tuple[str, ...]:
    """Specialists ``DIGEST/POINT`` that failed and are still missing, sorted.

    Args:
        path: The experiment's ``failed.json``.
        specialists: Folder of the specialists that are planned with.
        points: Ids of the grid points.
    """
    wanted = set(points)
    return tuple(
        each.name
        for each in read_failed(path)
        if each.specialists == str(specialists) and each.point in wanted and not each.is_over
    )


def _reason(job: FailedJob) -> str:
    """Slurm's word where it ended the job; else what the job's log says, in one line."""
    if job.state not in (None, "FAILED"):
        return f"Slurm ended its job: {job.state}"
    text = job.log.read_text(errors="replace") if job.log and job.log.exists() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in lines:
        if line.startswith(ERROR):
            return line.removeprefix(ERROR)
    if any(line.startswith("Traceback ") for line in lines):
        return lines[-1]
    return "its job ended with an exit code"
