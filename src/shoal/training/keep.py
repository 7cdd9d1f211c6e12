"""When a training saves its state: at intervals, when it is told to end, where a part ends."""

from __future__ import annotations

import math
import signal
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

from shoal.errors import ShoalError
from shoal.formats.checkpoint import write_checkpoint
from shoal.training.processes import of_first, random_state, rank_and_count
from shoal.training.resume import say_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import torch

    from shoal.training.processes import RandomState
    from shoal.training.resume import Checkpoint

TERMINATED = 128 + signal.SIGTERM
"""Exit code of a process that SIGTERM has ended."""

SAVE, SAVE_AND_END = 1, 2
"""Actions of a training before a step; 0 is to go on."""


class Keep:
    """Decides before each step whether a training saves its state, and whether it ends.

    Before a step, not after one: then all that a module does after a step is done.

    Attributes:
        told_to_end: Whether the process has got SIGTERM.
        over: Whether the part of the training has ended before the training.
    """

    def __init__(self, slot: Checkpoint | None, stop: int, left: Path | None) -> None:
        """Begin.

        Args:
            slot: The job's checkpoint of this training; none is kept without.
            stop: Steps done when the part ends.
            left: File of its state then; None where the training ends with the part.
        """
        self.told_to_end = False
        self.over = False
        self._slot = slot
        self._stop = stop
        self._left = left
        self._due = time.monotonic() + (slot.seconds if slot else math.inf)

    @property
    def has_slot(self) -> bool:
        """Whether the job keeps a checkpoint of this training."""
        return self._slot is not None

    def ends_part(self, done: int, save: Callable[[Path], None]) -> bool:
        """Whether the part ends after so many steps; its state is saved then."""
        if self._left is None or done != self._stop:
            return False
        self.over = True
        save(self._left)
        return True

    def wish(self) -> int:
        """The action that this process would take now."""
        return self.told_to_end + (self.told_to_end or time.monotonic() >= self._due)

    def act(self, wish: int, save: Callable[[Path], None]) -> None:
        """Save the state and, if asked to, end the process."""
        if wish and self._slot:
            try:
                save(self._slot.path)
            except ShoalError as error:
                say_once(f"{error}: this training cannot go on where it is ended")
                self._slot = None
            else:
                self._due = time.monotonic() + self._slot.seconds
        if wish == SAVE_AND_END:
            end()

    def head(self, done: int, draws: RandomState) -> dict[str, object]:
        """Facts that a saved state holds about its training; a part's says nothing of its job.

        Args:
            done: Steps done.
            draws: State of its random numbers.
        """
        known = _head(self._slot, self._left if self.over else None)
        return known | {"batches": done, "random": draws}

    def finish(
        self, module: torch.nn.Module, curve: list[list[float]], done: int | None = None
    ) -> None:
        """Keep the weights of a training that is over, where the job has more to do for long.

        Args:
            module: The module.
            curve: Its learning curve.
            done: Steps done, of a training that may have stopped early.
        """
        slot = self._slot
        lasts = slot is not None and slot.ledger.seconds >= slot.seconds
        wish = of_first(self.told_to_end + (self.told_to_end or lasts))
        if slot and wish and not self.over:
            with suppress(ShoalError):
                write_finished(slot.path, slot.head() | {"done": done}, module, curve)
        if wish == SAVE_AND_END:
            end()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Note SIGTERM during the block instead of ending the process, if there is a checkpoint."""
        if not self.has_slot or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = self.listen()
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def listen(self) -> Any:  # noqa: ANN401 - signal's own type
        """Note SIGTERM from now on; the handler before."""
        return signal.signal(signal.SIGTERM, self._tell_to_end)

    def _tell_to_end(self, *_: object) -> None:
        self.told_to_end = True


def _head(slot: Checkpoint | None, left: Path | None) -> dict[str, object]:
    """Facts that a checkpoint holds about its training; none in a state for other jobs.

    Args:
        slot: The job's checkpoint.
        left: File of a part's state; None where the state is a checkpoint.
    """
    return slot.head() if slot and left in (None, slot.path) else {}


def write_whole(
    left: Path, slot: Checkpoint | None, module: torch.nn.Module, curve: list[list[float]]
) -> None:
    """Write the state of a training's last part: its weights."""
    write_finished(left, _head(slot, left), module, curve)


def write_finished(
    path: Path, head: Mapping[str, object], module: torch.nn.Module, curve: list[list[float]]
) -> None:
    """Write the weights of a training that is over, from its first process alone."""
    own = {**head, "random": random_state(), "learning_curve": curve}
    if rank_and_count()[0] == 0:
        write_checkpoint(path, {"shoal": own, "finished": module.state_dict()})


def end() -> NoReturn:
    """End the process as SIGTERM does."""
    # A helper that ends otherwise makes Lightning kill the first process, which may not be ready.
    raise SystemExit(TERMINATED if rank_and_count()[0] == 0 else 0)
