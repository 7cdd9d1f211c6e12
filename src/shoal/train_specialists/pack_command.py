"""Commands ``train-specialist`` and ``train-pack``."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shoal.errors import ERROR
from shoal.formats.hashing import file_hash
from shoal.formats.json_file import write_json
from shoal.formats.provenance import recording
from shoal.terminal import reason_of
from shoal.train_specialists.candidate import STATE, candidate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from shoal.formats.documents.choice import Point
    from shoal.formats.documents.plan import PackMember
    from shoal.search.steps import Steps
    from shoal.settings.learning import Model, Training
    from shoal.train_specialists.candidate import Candidate

    Recover = Callable[[str, Candidate, Path, Path], bool]


def train_specialist(
    model: Model,
    training: Training,
    steps: Steps,
    step: int,
    slot: str,
    points: Mapping[str, Point],
    decision: Sequence[Path],
    left: Mapping[str, Path],
    index_path: Path,
    digest: str,
    base_path: Path,
    shapes_path: Path,
    recover: Recover,
    model_out: Path,
    ledger_out: Path,
    threads: int,
    checkpoint_seconds: float,
) -> None:
    """Train one slot of a partition's search, or take its specialist from the model store.

    Args:
        model: The user's model.
        training: Settings of the training.
        steps: The steps of the search.
        step: Number of the slot's step.
        slot: Its name.
        points: Grid points of the first step, by the names of its slots.
        decision: The decision that fills the slot; none in the first step.
        left: States that the slots of the step before left, by name, where this one goes on.
        index_path: The partition index.
        digest: Digest of the partition's training rows.
        base_path: The base, from which the training starts.
        shapes_path: Shape of rows and labels.
        recover: Takes it from the model store, see :class:`Work`.
        model_out: The weights.
        ledger_out: What the training cost.
        threads: CPU threads; the bits depend on it.
        checkpoint_seconds: Time between two checkpoints.
    """
    from shoal.train_specialists.command import train_slot
    from shoal.training.determinism import deterministic

    before = decision[0] if decision else None
    own = candidate(steps, step, slot, model_out, points.get(slot), before, left)
    if recover(digest, own, model_out, ledger_out):
        return
    deterministic(threads)
    train_slot(
        model,
        training,
        own,
        index_path,
        digest,
        base_path,
        shapes_path,
        model_out,
        ledger_out,
        checkpoint_seconds,
    )


@dataclass(frozen=True)
class Work:
    """Common arguments of a pack's trainings.

    Attributes:
        model: The user's model.
        training: Settings of the training.
        steps: The steps of the search.
        index: The partition index.
        base: The base, from which every training starts.
        shapes: Shape of rows and labels.
        recover: Takes a candidate with training rows of this digest, if it was trained before,
            from the model store into weights and ledger; whether it could.
        threads: CPU threads.
        checkpoint_seconds: Time between two checkpoints of a training.
    """

    model: Model
    training: Training
    steps: Steps
    index: Path
    base: Path
    shapes: Path
    recover: Recover
    threads: int
    checkpoint_seconds: float

    def files(self, member: PackMember) -> list[Path]:
        """Files of a member."""
        names = ("model.safetensors", "ledger.json", *((STATE,) if self.steps.goes_on else ()))
        return [Path(member["folder"], name) for name in names]


def train_pack(
    model: Model,
    training: Training,
    steps: Steps,
    members: Sequence[PackMember],
    index_path: Path,
    base_path: Path,
    shapes_path: Path,
    recover: Recover,
    status_out: Path,
    threads: int,
    checkpoint_seconds: float,
) -> None:
    """Train several slots in one process, each as if alone; exit code 1 if one failed.

    Args:
        model: The user's model.
        training: Settings of the training.
        steps: The steps of the search.
        members: What to train.
        index_path: The partition index.
        base_path: The base, from which every training starts.
        shapes_path: Shape of rows and labels.
        recover: Takes a specialist from the model store, see :class:`Work`.
        status_out: Hashes of what was made, written when all members are there.
        threads: CPU threads; the bits depend on it.
        checkpoint_seconds: Time between two checkpoints of a training.
    """
    work = Work(
        model,
        training,
        steps,
        index_path,
        base_path,
        shapes_path,
        recover,
        threads,
        checkpoint_seconds,
    )
    if train_members(work, members, status_out):
        raise SystemExit(1)


def train_members(work: Work, members: Sequence[PackMember], status: Path) -> list[PackMember]:
    """Train the members that are not there yet, one after the other, each as if alone.

    A member that fails is reported in its own log and in a line here, and the next one trains. The
    status is written when all are there: the hashes of each member's files.

    Args:
        work: Common arguments of their trainings.
        members: What to train.
        status: The file to write.

    Returns:
        The members that failed.
    """
    failed = []
    # Those that began before and did not end come last: one of them may have taken its process
    # with it, and would do so again before others train.
    for member in sorted(members, key=lambda member: Path(member["log"]).exists()):
        folder = member["folder"]
        if all(path.exists() for path in work.files(member)):
            _say(f"{folder}: there already")
            continue
        start = time.perf_counter()
        reason = _train(work, member)
        if reason is None:
            _say(f"{folder}: done in {time.perf_counter() - start:.1f} s")
        else:
            failed.append(member)
            _say(f"{folder}: failed, {reason}; its log: {member['log']}")
    if not failed:
        found = {
            member["folder"]: {path.name: file_hash(path) for path in work.files(member)}
            for member in members
        }
        write_json(status, found)
    return failed


def _train(work: Work, member: PackMember) -> str | None:
    """Train one member, or take it from the pool store; why that failed, or None."""
    from shoal.train_specialists.command import train_slot
    from shoal.training.determinism import as_if_alone

    weights, ledger, *_ = work.files(member)
    states = {name: Path(path) for name, path in member["states"].items()}
    decision = Path(member["decision"]) if member["decision"] else None
    reason = None
    with _logging_to(Path(member["log"])), as_if_alone(work.threads):
        try:
            own = candidate(
                work.steps,
                member["step"],
                member["slot"],
                weights,
                member["point"],
                decision,
                states,
            )
            with recording([*states.values(), work.base, work.shapes]):
                if work.recover(member["digest"], own, weights, ledger):
                    return None
                train_slot(
                    work.model,
                    work.training,
                    own,
                    work.index,
                    member["digest"],
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
