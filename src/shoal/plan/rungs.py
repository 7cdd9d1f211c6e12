"""Where the rungs of a partition's successive halving lie, and which jobs make them.

A rung's slots are fixed before anything has run. On the first rung they are the grid points; which
point goes on in a slot of a later one is said by the ranking that follows the rung before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.plan.jobs import Job
from shoal.plan.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUNG_FILES = ("model.safetensors", "state.safetensors", "ledger.json")
"""Files of a slot: weights, what a later rung goes on from, what it cost."""


class Rungs(Slots):
    """The rungs of one partition."""

    def ranking(self, rung: int) -> Path:
        """What says which points go on from a rung."""
        return self.comparison(rung)

    @property
    def candidates(self) -> list[Path]:
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
