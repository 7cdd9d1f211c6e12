"""Where the rungs of a partition's successive halving lie, and which jobs make them.

A rung's slots are fixed before anything has run. On the first rung they are the grid points; which
point goes on in a slot of a later one is said by the ranking that follows the rung before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shoal.workflow.jobs import Job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUNG_FILES = ("model.safetensors", "state.safetensors", "ledger.json")
"""Files of a slot: weights, what a later rung goes on from, what it cost."""


@dataclass(frozen=True)
class Rungs:
    """The rungs of one partition.

    Attributes:
        first: Folder of the first rungs of all partitions; its path names how long they train.
        later: Folder of all other rungs; its path names the points and the halving too.
        points: Ids of the grid points.
        slots: How many points train on each rung.
        digest: Of the partition's training rows.
        validation: Of its validation rows, by which points are ranked.
    """

    first: Path
    later: Path
    points: tuple[str, ...]
    slots: tuple[int, ...]
    digest: str
    validation: str

    def names(self, rung: int) -> list[str]:
        """Names of a rung's slots."""
        if rung == 0:
            return list(self.points)
        return [f"{self.validation}-{slot}" for slot in range(self.slots[rung])]

    def file(self, rung: int, slot: str, name: str) -> Path:
        """A file of one slot."""
        folder = self.later if rung else self.first
        return folder / self.digest / str(rung) / slot / name

    def files(self, rung: int, name: str) -> list[Path]:
        """A file of each of a rung's slots."""
        return [self.file(rung, slot, name) for slot in self.names(rung)]

    def ranking(self, rung: int) -> Path:
        """What says which points go on from a rung."""
        return self.later / self.digest / str(rung) / f"{self.validation}.json"

    @property
    def last(self) -> list[Path]:
        """Weights of the points that reach the last rung."""
        return self.files(len(self.slots) - 1, "model.safetensors")

    @property
    def ledgers(self) -> list[Path]:
        """What training and ranking cost, rung by rung."""
        found = []
        for rung in range(len(self.slots)):
            found += self.files(rung, "ledger.json")
            found += [self.ranking(rung)] if rung < len(self.slots) - 1 else []
        return found

    def jobs(self, partition: int) -> Iterator[Job]:
        """The jobs of all rungs.

        Args:
            partition: Number of the partition.
        """
        for rung in range(len(self.slots)):
            for slot in self.names(rung):
                files = tuple(self.file(rung, slot, name) for name in RUNG_FILES)
                yield Job("train_rung", f"{self.digest}/{rung}/{slot}", files, partition)
            if rung < len(self.slots) - 1:
                about = f"{self.digest}/{rung}"
                yield Job("train_rank", about, (self.ranking(rung),), partition)
