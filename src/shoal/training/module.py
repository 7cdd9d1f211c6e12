"""The user's model as something that trains: a LightningModule as it is, others wrapped."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from shoal.settings.learning import Training


class Supervised(pl.LightningModule):
    """A plain module with a loss, AdamW and a half-cosine learning rate."""

    def __init__(self, model: torch.nn.Module, loss: str, training: Training) -> None:
        super().__init__()
        self.model = model
        self._loss = _LOSSES[loss]
        self._training = training

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The module's own output."""
        result: torch.Tensor = self.model(x)
        return result

    def training_step(self, batch: tuple[torch.Tensor, ...], _: int) -> torch.Tensor:
        """Loss of one batch."""
        x, y = batch
        loss: torch.Tensor = self._loss(self.model(x), y)
        return loss

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own type is a union
        """AdamW whose rate falls to zero over the planned steps."""
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self._training.lr, weight_decay=self._training.weight_decay
        )
        steps = int(self.trainer.estimated_stepping_batches)

        def half_cosine(step: int) -> float:
            return 0.5 * (1 + math.cos(math.pi * step / steps))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, half_cosine)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def _mse(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.mse_loss(output.reshape(-1), y)


def _huber(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.huber_loss(output.reshape(-1), y)


_LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "cross_entropy": torch.nn.functional.cross_entropy,
    "mse": _mse,
    "huber": _huber,
}


def trainable(model: torch.nn.Module, training: Training, task: str) -> pl.LightningModule:
    """The model itself if it is a LightningModule; else wrapped with the settings' loss.

    Args:
        model: The user's model, trained in place either way.
        training: Loss and optimiser of a plain module; a LightningModule keeps its own.
        task: ``classification`` or ``regression``, for the loss ``auto``.
    """
    if isinstance(model, pl.LightningModule):
        return model
    loss = training.loss
    if loss == "auto":
        loss = "cross_entropy" if task == "classification" else "mse"
    return Supervised(model, loss, training)
