"""Where the trials of proposed grid points lie, and which jobs make them.

Trials go batch by batch, each with a fixed number of slots. The first batch's are grid points that
are drawn when settings are read; what a slot of a later one trains is said by the proposals that
follow the batch before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.plan.jobs import Job
from shoal.plan.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRIAL_FILES = ("model.safetensors", "ledger.json")
"""Files of a slot: weights, what it cost."""


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

    def jobs(self, partition: int) -> Iterator[Job]:
        """The jobs of all batches.

        Args:
            partition: Number of the partition.
        """
        for batch in range(len(self.slots)):
            if batch:
                about = f"{self.digest}/{batch}"
                yield Job("train_propose", about, (self.proposals(batch),), partition)
            for slot in self.names(batch):
                files = tuple(self.file(batch, slot, name) for name in TRIAL_FILES)
                yield Job("train_trial", f"{self.digest}/{batch}/{slot}", files, partition)
