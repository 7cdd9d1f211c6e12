"""The user's model as something that trains. Imports no Lightning, which is slow."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeGuard, cast

import torch

from shoal.training.schedule import rate_of
from shoal.training.tasks import rules

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytorch_lightning as pl
    from typing_extensions import TypeIs

    from shoal.settings.learning import Training
    from shoal.training.tasks import OwnLoss


class Supervised(torch.nn.Module):
    """A plain module with a loss; AdamW trains it at the rate that the settings' schedule says.

    The loss is one of the settings', or the mean of what the module says itself for each row.

    Attributes:
        model: The user's module.
        weight_decay: AdamW's.
    """

    def __init__(self, model: torch.nn.Module, loss: str | None, training: Training) -> None:
        super().__init__()
        self.model = model
        self.weight_decay = training.weight_decay
        self._loss = None if loss is None else _LOSSES[loss]
        self._training = training

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Loss of one batch."""
        if self._loss is None:
            return cast("OwnLoss", self.model).row_losses((x, y)).mean()
        return self._loss(self.model(x), y)

    def training_step(self, batch: tuple[torch.Tensor, ...], _: int = 0) -> torch.Tensor:
        """Loss of one batch."""
        return self.forward(*batch)

    def rate(self, step: int, steps: int, per_pass: int) -> float:
        """Learning rate of a step; see :func:`shoal.training.schedule.rate_of`."""
        return rate_of(self._training, step, steps, per_pass)


def _cross_entropy(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(output, y, reduction="none").mean()


def _mse(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.mse_loss(output.reshape(-1), y, reduction="none").mean()


def _huber(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.huber_loss(output.reshape(-1), y, reduction="none").mean()


_LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    # A mean of rows' losses, whose sum is taken alike for one model and for several in lanes.
    "cross_entropy": _cross_entropy,
    "mse": _mse,
    "huber": _huber,
}


def is_lightning(module: torch.nn.Module) -> TypeIs[pl.LightningModule]:
    """Whether a module is a LightningModule, whose class has imported Lightning."""
    lightning = sys.modules.get("pytorch_lightning")
    return lightning is not None and isinstance(module, lightning.LightningModule)


def trainable(
    model: torch.nn.Module, training: Training, task: str
) -> Supervised | pl.LightningModule:
    """The model itself if it is a LightningModule; else with the settings' loss and optimiser.

    Args:
        model: The user's model, trained in place either way.
        training: Loss and optimiser of a plain module; a LightningModule keeps its own.
        task: ``classification``, ``regression`` or ``own``, for the loss ``auto``.
    """
    if is_lightning(model):
        return model
    loss: str | None = training.loss
    if loss == "auto":
        says = callable(getattr(model, "row_losses", None))
        loss = None if says else rules(task).loss
    return Supervised(model, loss, training)


def is_lean(module: torch.nn.Module, devices: int) -> TypeGuard[Supervised]:
    """Whether a module trains in Shoal's own loop (:mod:`shoal.training.lean`), not in Lightning.

    The rule: a plain module whose trained parameters are all float32, on one device.
    """
    return (
        isinstance(module, Supervised)
        and devices == 1
        and all(p.dtype == torch.float32 for p in module.parameters() if p.requires_grad)
    )
