"""Where what a search trains lies: slots that are fixed before anything has run.

The first slots are named by their grid points. Which point a later one trains is said by a file,
made by what was trained before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Slots:
    """The slots of one partition, step by step.

    Attributes:
        first: Folder of the first step's slots, for all partitions.
        later: Folder of all others; its path names the points and how they are searched too.
        points: Ids of the grid points of the first step.
        slots: How many points train in each step.
        digest: Of the partition's training rows.
        validation: Of its validation rows, by which points are compared.
    """

    first: Path
    later: Path
    points: tuple[str, ...]
    slots: tuple[int, ...]
    digest: str
    validation: str

    def names(self, step: int) -> list[str]:
        """Names of a step's slots."""
        if step == 0:
            return list(self.points)
        return [f"{self.validation}-{slot}" for slot in range(self.slots[step])]

    def file(self, step: int, slot: str, name: str) -> Path:
        """A file of one slot."""
        folder = self.later if step else self.first
        return folder / self.digest / str(step) / slot / name

    def files(self, step: int, name: str) -> list[Path]:
        """A file of each of a step's slots."""
        return [self.file(step, slot, name) for slot in self.names(step)]

    def comparison(self, step: int) -> Path:
        """Where a step's folder says what points were compared in, or chosen by."""
        return self.later / self.digest / str(step) / f"{self.validation}.json"


class Search(Protocol):
    """The search of a partition's grid point."""

    @property
    def candidates(self) -> list[Path]:
        """Weights among which the specialist is chosen."""

    @property
    def ledgers(self) -> list[Path]:
        """What training and comparing cost, step by step."""


def validation_of(slot: str) -> str:
    """Digest of the validation rows in the name of a slot of a later step."""
    return slot.rpartition("-")[0]


def number_of(slot: str) -> int:
    """Place of a slot of a later step among its step's."""
    return int(slot.rpartition("-")[2])
