"""Checkpoints of a job's trainings, from which it goes on after an interruption.

Imports no torch, which a job that turns out to train nothing does not need.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shoal.errors import ShoalError, SourceError
from shoal.formats.provenance import made_from
from shoal.terminal import say

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from shoal.formats.ledger import Ledger

_MARK = ".checkpoint"


@dataclass
class Checkpoints:
    """The checkpoints of one job, beside its output: one file for each training, in order.

    A job that lasts less than ``seconds`` and is let alone writes none.

    Attributes:
        out: The job's output.
        seconds: Time between two checkpoints of a training.
        ledger: The job's account; time spent before an interruption is added to it.
        made_of: What the job depends on beside the files it reads.
    """

    out: Path
    seconds: float
    ledger: Ledger
    made_of: Mapping[str, object]
    _begun: list[Checkpoint] = field(default_factory=list)

    def next(self, training: Mapping[str, object]) -> Checkpoint:
        """The checkpoint of the job's next training.

        Args:
            training: Steps, libraries and device, on which its bits depend.
        """
        number = len(self._begun) + 1
        record = {"job": self.ledger.job, "number": number, **training, **self.made_of}
        record |= made_from()
        slot = Checkpoint(self.upcoming, self.seconds, self.ledger, record)
        self._begun.append(slot)
        return slot

    @property
    def upcoming(self) -> Path:
        """The file of the job's next training."""
        number = len(self._begun) + 1
        name = f"{self.out.stem}{_MARK}{f'-{number}' if number > 1 else ''}.safetensors"
        return self.out.with_name(name)

    def remove(self) -> None:
        """Remove the files; call it once the output is written."""
        for slot in self._begun:
            slot.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint of one training.

    Attributes:
        path: Its file.
        seconds: Time between two of them.
        ledger: The job's account.
        record: What its bits depend on.
    """

    path: Path
    seconds: float
    ledger: Ledger
    record: dict[str, object]

    def head(self) -> dict[str, object]:
        """Facts that a checkpoint holds about its training."""
        return {"record": self.record, "seconds": self.ledger.seconds}

    def read(self) -> dict[str, Any] | None:
        """The content of the checkpoint of this training, whose seconds the ledger adds; or None.

        One that is damaged, or of something else, is named in the log and left alone.
        """
        from shoal.formats.checkpoint import read_checkpoint

        try:
            content = read_checkpoint(self.path)
            head = content["shoal"]
            same, seconds = head["record"] == self.record, float(head["seconds"])
        except SourceError:
            return None
        except (ShoalError, KeyError, TypeError, ValueError) as error:
            say_once(f"{error}; the training starts anew")
            return None
        if not same:
            say_once(f"{self.path}: is of another training; this one starts anew")
            return None
        self.ledger.resume(seconds)
        return content


@dataclass(frozen=True)
class Part:
    """A part of a training; all parts together give the bits of the whole.

    Attributes:
        divisor: It ends after 1/divisor of the training's steps.
        before: Divisor of the part before; None at the beginning.
        begun: State file of the part before; None at the beginning.
        left: Its own state file; the job's checkpoint of this training, if that goes on in the
            same job.
    """

    divisor: int
    before: int | None
    begun: Path | None
    left: Path

    def stop(self, steps: int) -> int:
        """Steps done when it ends, of ``steps`` in all."""
        return one_in(self.divisor, steps)

    def steps(self, steps: int) -> int:
        """Steps of the part itself, of ``steps`` in all."""
        return self.stop(steps) - (one_in(self.before, steps) if self.before else 0)


def one_in(divisor: int, steps: int) -> int:
    """``steps / divisor``, rounded up.

    All steps where one would be left: no training goes on from before its last step.
    """
    part = math.ceil(steps / divisor)
    return steps if part >= steps - 1 else part


def output_of(path: Path) -> Path | None:
    """The output that a checkpoint belongs to; None where the file is no checkpoint."""
    stem, mark, _ = path.stem.rpartition(_MARK)
    return path.with_name(f"{stem}{path.suffix}") if mark else None


def say_once(sentence: str) -> None:
    """Write a line to the job's log, from its first process alone."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        say(sentence)
