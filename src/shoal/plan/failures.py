"""Specialists whose training failed: recorded when a run ends, left out if the settings allow."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shoal.errors import BUG, ERROR
from shoal.formats.json_file import write_json
from shoal.pool.incomplete import Failure, read_failed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from shoal.plan.run_log import FailedJob

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
        write_json(path, {"specialists": [each.as_json() for each in failures]})
    else:
        path.unlink(missing_ok=True)


def failed_specialists(jobs: Iterable[FailedJob]) -> Iterator[Failure]:
    """Specialists that failed jobs should have made."""
    for job in jobs:
        if job.rule == "train_specialist":
            folder, (digest, point) = job.outputs[0].parents[2], job.outputs[0].parts[-3:-1]
            yield Failure(str(folder), digest, point, _reason(job), str(job.log))
        elif job.rule == "train_pack":
            yield from _failed_members(job)


@dataclass(frozen=True)
class Reason:
    """Why a job failed.

    Attributes:
        text: One line.
        is_told: Whether a command of Shoal's gave it; else it was killed, or did not start.
    """

    text: str
    is_told: bool = True

    @property
    def is_mistake(self) -> bool:
        """Whether it is the user's to mend."""
        return self.is_told and not self.text.startswith(BUG)


def reasons(jobs: Iterable[FailedJob]) -> Iterator[Reason]:
    """Why jobs failed, each once; for a pack each of its members that failed."""
    for job in jobs:
        members = list(_failed_members(job)) if job.rule == "train_pack" else []
        yield from (Reason(each.reason) for each in members)
        if not members:
            text = _reason(job)
            is_told = f"{ERROR}{text}" in _lines(job)
            yield Reason(text if is_told else f"{job.rule}: {text}; its log: {job.log}", is_told)


def _failed_members(job: FailedJob) -> Iterator[Failure]:
    status = job.outputs[0]
    folder = status.parents[2] / "specialists" / status.parent.name
    for line in _lines(job):
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
    lines = _lines(job)
    for line in lines:
        if line.startswith(ERROR):
            return line.removeprefix(ERROR)
    return lines[-1] if lines else "its job ended with an exit code"


def _lines(job: FailedJob) -> list[str]:
    """Lines of its log that are not empty."""
    text = job.log.read_text(errors="replace") if job.log and job.log.exists() else ""
    return [line.strip() for line in text.splitlines() if line.strip()]
