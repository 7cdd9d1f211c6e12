"""Command ``train-pack``."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shoal.errors import ERROR
from shoal.formats.hashing import file_hash
from shoal.formats.json_file import write_json
from shoal.terminal import reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from shoal.search.points import Point
    from shoal.settings.learning import Model, Training

FILES = ("model.safetensors", "ledger.json")
"""Files of a specialist."""


@dataclass(frozen=True)
class Work:
    """What the members of a pack have in common.

    Attributes:
        model: The user's model.
        training: How it is trained.
        grid: Grid points by id.
        index: The partition index.
        base: Where every specialist starts.
        shapes: Shape of rows and labels.
        specialists: Folder of specialists; a member lies below it.
        logs: Folder of their logs, likewise.
        recover: Writes a member's weights and ledger, given these two paths, the base and the grid
            point, if it was trained before; whether it did.
        threads: CPU threads.
        checkpoint_seconds: How often the training of a member is kept.
    """

    model: Model
    training: Training
    grid: Mapping[str, Point]
    index: Path
    base: Path
    shapes: Path
    specialists: Path
    logs: Path
    recover: Callable[[Path, Path, Path, Point], bool]
    threads: int
    checkpoint_seconds: float

    def files(self, member: str) -> list[Path]:
        """Weights and ledger of a member."""
        return [self.specialists / member / name for name in FILES]

    def log(self, member: str) -> Path:
        """The log of a member, where it would be had it run alone."""
        return self.logs / f"{member}.log"

    def is_done(self, member: str) -> bool:
        """Whether all files of a member are there."""
        return all(path.exists() for path in self.files(member))


def train_pack(work: Work, members: Sequence[str], status: Path) -> list[str]:
    """Train the members that are not there yet, one after the other, each as if alone.

    A member that fails is reported in its own log and in a line here, and the next one trains. The
    status is written when all are there: the hashes of each member's files.

    Args:
        work: What the members have in common.
        members: Training digest and grid point of each, ``DIGEST/POINT``.
        status: The file to write.

    Returns:
        The members that failed.
    """
    failed = []
    for member in _order(work, members):
        if work.is_done(member):
            _say(f"{member}: there already")
            continue
        start = time.perf_counter()
        reason = _train(work, member)
        if reason is None:
            _say(f"{member}: done in {time.perf_counter() - start:.1f} s")
        else:
            failed.append(member)
            _say(f"{member}: failed, {reason}; its log: {work.log(member)}")
    if not failed:
        found = {
            str(work.specialists / member): {
                path.name: file_hash(path) for path in work.files(member)
            }
            for member in members
        }
        write_json(status, found)
    return failed


def _order(work: Work, members: Sequence[str]) -> list[str]:
    """The members as given, but last those that began before and did not end.

    One of them may have taken its process with it, and would do so again before others train.
    """
    return sorted(members, key=lambda member: work.log(member).exists())


def _train(work: Work, member: str) -> str | None:
    """Train one member, or recover it; why that failed, or None."""
    from shoal.train_specialists.command import train_specialist
    from shoal.training.determinism import as_if_alone

    digest, point = member.split("/")
    weights, ledger = work.files(member)
    reason = None
    with _logging_to(work.log(member)), as_if_alone(work.threads):
        try:
            if work.recover(weights, ledger, work.base, work.grid[point]):
                return None
            train_specialist(
                work.model,
                work.training,
                work.grid[point],
                work.index,
                digest,
                work.base,
                work.shapes,
                weights,
                ledger,
                work.checkpoint_seconds,
            )
        except Exception as error:
            reason, _ = reason_of(error)
            _say(f"{ERROR}{reason}")
    return reason


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Standard output and error go to a file, those of libraries in C included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {number: os.dup(number) for number in (1, 2)}
    try:
        with path.open("wb") as log:
            _redirect({number: log.fileno() for number in kept})
        yield
    finally:
        _redirect(kept)
        for copy in kept.values():
            os.close(copy)


def _redirect(streams: Mapping[int, int]) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    for number, target in streams.items():
        os.dup2(target, number)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - the log's line
