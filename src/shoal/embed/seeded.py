"""A LightningModule with a source of random numbers of its own, which checkpoints hold too."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch


class SeededModule(pl.LightningModule):
    """Draws from ``generator``, on the CPU."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the generator's state."""
        checkpoint["generator"] = self.generator.get_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Set the generator's state."""
        self.generator.set_state(checkpoint["generator"])
