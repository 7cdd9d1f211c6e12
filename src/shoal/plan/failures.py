"""Specialists whose training failed: recorded when a run ends, left out if the settings allow."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from shoal.errors import BUG, ERROR
from shoal.formats.documents.plan import FailedSpecialist
from shoal.formats.json_file import write_json
from shoal.plan.paths import parse
from shoal.plan.slots import WEIGHTS
from shoal.pool.incomplete import is_over, name_of, read_failed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shoal.plan.layout import Layout
    from shoal.plan.run_log import FailedJob

FAILED = "failed.json"
"""The record, in the experiment's results folder."""


_FAILED_MEMBER = re.compile(r"(\S+): failed, (.*); its log: (.*)$")
"""A line of a pack's log on a member."""


def record_failed(path: Path, found: Iterable[FailedSpecialist] = ()) -> None:
    """Add failures to the record of an experiment; drop those that have been trained since.

    Args:
        path: Its ``failed.json``, which is there only while there is a failure.
        found: What failed in this run.
    """
    known = {each["folder"]: each for each in (*read_failed(path), *found)}
    failures = [known[name] for name in sorted(known) if not is_over(known[name])]
    if failures:
        write_json(path, {"specialists": failures})
    else:
        path.unlink(missing_ok=True)


def failed_specialists(jobs: Iterable[FailedJob]) -> Iterator[FailedSpecialist]:
    """Specialists that failed jobs should have made."""
    for job in jobs:
        if job.rule == "train_specialist":
            yield from _failure(str(job.outputs[0].parent), _reason(job), str(job.log))
        elif job.rule == "train_pack":
            yield from (each for line in _failed_members(job) for each in _failure(*line))


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
        yield from (Reason(reason) for _, reason, _ in members)
        if not members:
            text = _reason(job)
            is_told = f"{ERROR}{text}" in _lines(job)
            yield Reason(text if is_told else f"{job.rule}: {text}; its log: {job.log}", is_told)


def _failed_members(job: FailedJob) -> Iterator[tuple[str, str, str]]:
    """Folder, reason and log of each member that a pack's log reports."""
    for line in _lines(job):
        if found := _FAILED_MEMBER.match(line):
            folder, reason, log = found.groups()
            yield folder, reason, log


def _failure(folder: str, reason: str, log: str) -> Iterator[FailedSpecialist]:
    """The failure of the specialist whose folder this is; none for another folder."""
    if place := parse(f"{folder}/{WEIGHTS}"):
        _, identity, digest, step, slot = place.wildcards.values()
        yield FailedSpecialist(
            folder=folder,
            identity=identity,
            digest=digest,
            step=step,
            slot=slot,
            reason=reason,
            log=log,
        )


def left_out(path: Path, layout: Layout) -> tuple[str, ...]:
    """Slots ``ID/DIGEST/STEP/SLOT`` of a layout that failed and are still missing, sorted.

    Args:
        path: The experiment's ``failed.json``.
        layout: What is planned, with nothing left out.
    """
    folder = layout.folder / "specialists"
    found = [
        each
        for each in read_failed(path)
        if Path(each["folder"]).is_relative_to(folder) and not is_over(each)
    ]
    without = replace(layout, left_out=tuple(map(name_of, found)))
    return tuple(sorted(name_of(each) for each in found if without.has_slot(each)))


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
