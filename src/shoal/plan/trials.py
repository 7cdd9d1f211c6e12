"""Where the trials of proposed grid points lie.

Trials go batch by batch, each with a fixed number of slots. The first batch's are grid points that
are drawn when settings are read; what a slot of a later one trains is said by the proposals that
follow the batch before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.plan.slots import Slots

if TYPE_CHECKING:
    from pathlib import Path


class Trials(Slots):
    """The trials of one partition."""

    def proposals(self, batch: int) -> Path:
        """What says which points a batch other than the first trains."""
        return self.comparison(batch)

    @property
    def candidates(self) -> list[Path]:
        """Weights of all trials."""
        batches = range(len(self.slots))
        return [path for batch in batches for path in self.files(batch, "model.safetensors")]

    @property
    def ledgers(self) -> list[Path]:
        """What proposing and training cost, batch by batch."""
        found = []
        for batch in range(len(self.slots)):
            found += [self.proposals(batch)] if batch else []
            found += self.files(batch, "ledger.json")
        return found
