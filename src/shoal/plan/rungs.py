"""Where the rungs of a partition's successive halving lie.

A rung's slots are fixed before anything has run. On the first rung they are the grid points; which
point goes on in a slot of a later one is said by the ranking that follows the rung before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.plan.slots import Slots

if TYPE_CHECKING:
    from pathlib import Path


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
