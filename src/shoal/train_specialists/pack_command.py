"""Commands ``train-specialist`` and ``train-pack``."""

from __future__ import annotations

import gc
import os
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from shoal.errors import ERROR
from shoal.formats.hashing import file_hash
from shoal.formats.json_file import write_json
from shoal.formats.provenance import recording
from shoal.terminal import reason_of
from shoal.train_specialists.budget import Trials
from shoal.train_specialists.candidate import STATE, candidate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from shoal.formats.documents.choice import Point
    from shoal.formats.documents.plan import PackMember
    from shoal.search.steps import Steps
    from shoal.settings.learning import Model, Training
    from shoal.train_specialists.candidate import Candidate
    from shoal.train_specialists.command import Common, Slot
    from shoal.training.lean import LeanRun

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
    fits: Sequence[Path],
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
        fits: Ledgers of embedding and clusters.
        recover: Takes it from the model store, see :class:`Work`.
        model_out: The weights.
        ledger_out: What the training cost.
        threads: CPU threads; the bits depend on it.
        checkpoint_seconds: Time between two checkpoints.
    """
    from shoal.train_specialists.command import Common, train_slot
    from shoal.training.determinism import deterministic

    trials = Trials.of(points, steps)
    common = Common(
        model, training, index_path, base_path, shapes_path, fits, trials, checkpoint_seconds
    )
    before, continued = decision[0] if decision else None, common.continued(digest)
    own = candidate(steps, step, slot, model_out, points.get(slot), before, left, continued)
    if recover(digest, own, model_out, ledger_out):
        return
    deterministic(threads)
    train_slot(common, own, digest, model_out, ledger_out)


@dataclass(frozen=True)
class Work:
    """Common arguments of a pack's trainings.

    Attributes:
        common: Settings, index, base and the like.
        steps: The steps of the search.
        recover: Takes a candidate with training rows of this digest, if it was trained before,
            from the model store into weights and ledger; whether it could.
        threads: CPU threads.
    """

    common: Common
    steps: Steps
    recover: Recover
    threads: int

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
    fits: Sequence[Path],
    points: Mapping[str, Point],
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
        fits: Ledgers of embedding and clusters.
        points: Grid points of the first step.
        recover: Takes a specialist from the model store, see :class:`Work`.
        status_out: Hashes of what was made, written when all members are there.
        threads: CPU threads; the bits depend on it.
        checkpoint_seconds: Time between two checkpoints of a training.
    """
    from shoal.train_specialists.command import Common

    trials = Trials.of(points, steps)
    common = Common(
        model, training, index_path, base_path, shapes_path, fits, trials, checkpoint_seconds
    )
    work = Work(common, steps, recover, threads)
    if train_members(work, members, status_out):
        raise SystemExit(1)


def train_members(work: Work, members: Sequence[PackMember], status: Path) -> list[PackMember]:
    """Train the members that are not there yet, each with the bits that it has alone.

    Small ones step together, see :mod:`shoal.training.lanes`; others train one after the other. A
    member that fails is reported in its own log and in a line here, and others train. The status is
    written when all are there: the hashes of each member's files.

    Args:
        work: What their trainings have in common.
        members: What to train.
        status: The file to write.

    Returns:
        The members that failed.
    """
    from shoal.training.determinism import as_if_alone

    missing = []
    for member in members:
        if all(path.exists() for path in work.files(member)):
            _say(f"{member['folder']}: there already")
        else:
            missing.append(member)
    # Those that began before and did not end come last and alone: one of them may have taken its
    # process with it, and would do so again before others train.
    again = [member for member in missing if Path(member["log"]).exists()]
    pack = _Pack(work)
    with as_if_alone(work.threads):
        pack.train([member for member in missing if member not in again])
    for member in again:
        with as_if_alone(work.threads):
            pack.train_alone(member)
    if not pack.failed:
        found = {
            member["folder"]: {path.name: file_hash(path) for path in work.files(member)}
            for member in members
        }
        write_json(status, found)
    return pack.failed


class _Pack:
    """Trains members and reports them.

    Attributes:
        failed: Members that failed.
    """

    def __init__(self, work: Work) -> None:
        self.failed: list[PackMember] = []
        self._work = work
        self._begun: dict[LeanRun, tuple[PackMember, Slot, float]] = {}

    def train(self, members: Sequence[PackMember]) -> None:
        """Train members, as many together as there are lanes."""
        from shoal.training.lanes import Lanes

        for run in Lanes().train(self._steps_of(members)):
            self._end(run)

    def _end(self, run: LeanRun) -> None:
        """Write what a member's run has made; nothing holds its rows any more."""
        member, slot, since = self._begun.pop(run)
        slot.ledger.time_by(time.perf_counter)
        self._attempt(member, partial(slot.write, run.failure), since, "ab")

    def _steps_of(self, members: Sequence[PackMember]) -> Iterator[tuple[str, LeanRun]]:
        """Begin one member after the other; those without steps of ours are done at once."""
        import torch

        from shoal.training.processes import random_state, set_random_state

        draws, dtype = random_state(), torch.get_default_dtype()
        for member in members:
            since = time.perf_counter()
            begun: list[tuple[Slot, LeanRun]] = []
            # Each finds the state of a new process.
            set_random_state(draws)
            self._attempt(member, partial(self._begin, member, begun), since)
            torch.set_default_dtype(dtype)
            if begun:
                yield self._add(member, since, *begun.pop())
        set_random_state(draws)

    def _add(
        self, member: PackMember, since: float, slot: Slot, lean: LeanRun
    ) -> tuple[str, LeanRun]:
        slot.ledger.time_by(lean.clock)
        self._begun[lean] = member, slot, since
        return slot.kind, lean

    def _begin(self, member: PackMember, begun: list[tuple[Slot, LeanRun]]) -> bool:
        """Begin a member; add it to ``begun`` if its steps are yet to be done, else do all."""
        slot = self._slot(member)
        if slot is not None and slot.lean is not None:
            begun.append((slot, slot.lean))
            return False
        if slot is not None:
            slot.train()
            gc.collect()  # trainer and optimiser refer to each other and hold a device's memory
        return True

    def train_alone(self, member: PackMember) -> None:
        """Train one member from beginning to end."""

        def whole() -> None:
            slot = self._slot(member)
            if slot is not None:
                slot.train()

        self._attempt(member, whole, time.perf_counter())

    def _slot(self, member: PackMember) -> Slot | None:
        """A member's slot; None if it was taken from the model store."""
        from shoal.train_specialists.command import Slot

        work, (weights, ledger, *_) = self._work, self._work.files(member)
        decision = Path(member["decision"]) if member["decision"] else None
        states, point = _states(member), member["point"]
        continued = work.common.continued(member["digest"])
        own = candidate(
            work.steps, member["step"], member["slot"], weights, point, decision, states, continued
        )
        if work.recover(member["digest"], own, weights, ledger):
            return None
        return Slot(work.common, own, member["digest"], weights, ledger)

    def _attempt(
        self, member: PackMember, action: Callable[[], bool | None], since: float, mode: str = "wb"
    ) -> None:
        """Do something in a member's log; report that it failed, or is done.

        Args:
            member: The member.
            action: To do; gives False where more is to be done.
            since: When the member began.
            mode: Whether the log is begun (``wb``) or goes on (``ab``).
        """
        folder, log, reason = member["folder"], Path(member["log"]), None
        common, states = self._work.common, _states(member)
        over: bool | None = True
        with _logging_to(log, mode):
            try:
                with recording([*states.values(), common.base, common.shapes]):
                    over = action()
            except Exception as error:
                reason, _ = reason_of(error)
                _say(f"{ERROR}{reason}")
        if reason is not None:
            self.failed.append(member)
            _say(f"{folder}: failed, {reason}; its log: {log}")
        elif over is not False:
            _say(f"{folder}: done in {time.perf_counter() - since:.1f} s")


@contextmanager
def _logging_to(path: Path, mode: str) -> Iterator[None]:
    """Standard output and error go to a file, those of libraries in C included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {number: os.dup(number) for number in (1, 2)}
    try:
        with path.open(mode) as log:
            _redirect({number: log.fileno() for number in kept})
        yield
    finally:
        _redirect(kept)
        for copy in kept.values():
            os.close(copy)


def _states(member: PackMember) -> dict[str, Path]:
    """States that the step before left, by the names of its slots."""
    return {name: Path(path) for name, path in member["states"].items()}


def _redirect(streams: Mapping[int, int]) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    for number, target in streams.items():
        os.dup2(target, number)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - the log's line
