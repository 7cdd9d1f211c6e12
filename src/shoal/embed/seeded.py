"""A LightningModule for losses over whole batches, with random numbers of its own."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import distributed

from shoal.training.processes import ALONE, place


class SeededModule(pl.LightningModule):
    """Draws from ``generator``, on the CPU, which checkpoints hold too."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def whole(self, rows: torch.Tensor) -> torch.Tensor:
        """The rows of all processes' shares of a batch, in order.

        Every process must get the same loss from them.
        """
        if place() == ALONE:
            return rows
        whole: torch.Tensor = _Whole.apply(rows)  # type: ignore[no-untyped-call]
        return whole

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the generator's state."""
        checkpoint["generator"] = self.generator.get_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Set the generator's state."""
        self.generator.set_state(checkpoint["generator"])


class _Whole(torch.autograd.Function):
    """Gathers rows; each process's own get their gradient, which all processes know alike."""

    @staticmethod
    def forward(_: Any, rows: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - torch's
        shares = [torch.empty_like(rows) for _ in range(place()[1])]
        distributed.all_gather(shares, rows.contiguous())
        return torch.cat(shares)

    @staticmethod
    def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - torch's
        # The processes' gradients are averaged, yet each has those of its own rows alone.
        return place()[1] * part_of(gradient, place())


def part_of(draws: torch.Tensor, part: tuple[int, int]) -> torch.Tensor:
    """One of several equal parts of what was drawn for a whole batch."""
    rows = len(draws) // part[1]
    return draws[part[0] * rows : (part[0] + 1) * rows]
