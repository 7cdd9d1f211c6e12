"""The user's model as something that trains. Imports no Lightning, which is slow."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeGuard, cast

import torch

from shoal.errors import ModelError, SettingsError, nearest
from shoal.settings.targets import import_target
from shoal.settings.user_code import Calling, check_arguments
from shoal.training.schedule import rate_of
from shoal.training.tasks import rules

if TYPE_CHECKING:
    import pytorch_lightning as pl
    from typing_extensions import TypeIs

    from shoal.formats.shapes import Shapes
    from shoal.settings.learning import Loss, Training
    from shoal.training.tasks import OwnLoss

RowLosses = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Losses of rows by outputs and labels ``(rows,)``, or their mean."""


class Supervised(torch.nn.Module):
    """A plain module with a loss; AdamW trains it at the rate that the settings' schedule says.

    The loss is one of the settings', or the mean of what the module says itself for each row.

    Attributes:
        model: The user's module.
        weight_decay: AdamW's.
        epsilon: AdamW's.
    """

    def __init__(self, model: torch.nn.Module, loss: RowLosses | None, training: Training) -> None:
        super().__init__()
        self.model = model
        self.weight_decay = training.weight_decay
        self.epsilon = training.epsilon
        self._loss = loss
        self._training = training

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Loss of one batch."""
        if self._loss is None:
            return cast("OwnLoss", self.model).row_losses((x, y)).mean()
        return self._loss(self.model(x), y).mean()

    def training_step(self, batch: tuple[torch.Tensor, ...], _: int = 0) -> torch.Tensor:
        """Loss of one batch."""
        return self.forward(*batch)

    def rate(self, step: int, steps: int, per_pass: int) -> float:
        """Learning rate of a step; see :func:`shoal.training.schedule.rate_of`."""
        return rate_of(self._training, step, steps, per_pass)


def _cross_entropy(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(output, y, reduction="none")


def _mse(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.mse_loss(output.reshape(-1), y, reduction="none")


def _huber(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.huber_loss(output.reshape(-1), y, reduction="none")


_LOSSES: dict[str, RowLosses] = {"cross_entropy": _cross_entropy, "mse": _mse, "huber": _huber}
# A mean of rows' losses, whose sum is taken alike for one model and for several in lanes.


class _Weighted:
    """Cross-entropy of each row times the weight of its class."""

    def __init__(self, weights: list[float]) -> None:
        self._weights = torch.tensor(weights)

    def __call__(self, output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self._weights = self._weights.to(y.device)
        return _cross_entropy(output, y) * self._weights[y]


class _Named:
    """A loss of torch or the user's own, built from its settings; of each row, if it says that."""

    def __init__(self, settings: Loss, shapes: Shapes) -> None:
        self._place = f"train_specialists.loss {settings.target}"
        self._is_number = shapes.task == "regression"
        kind = import_target(settings.target, "loss")
        arguments = {name: _as_tensor(value) for name, value in settings.arguments().items()}
        if "reduction" in inspect.signature(kind).parameters:
            arguments.setdefault("reduction", "none")
        check_arguments(kind, self._place, **arguments)
        with Calling(kind, self._place, "its constructor"):
            self._loss = kind(**arguments)
        if any(True for _ in self._loss.parameters()):
            raise ModelError(f"{self._place}: has parameters, which nothing would train")

    def __call__(self, output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        with Calling(type(self._loss), self._place, "the call"):
            output = output.reshape(-1) if self._is_number else output
            losses = self._loss.to(output.device)(output, y)
        if not isinstance(losses, torch.Tensor) or losses.shape not in ((), y.shape):
            raise ModelError(f"{self._place}: gives no loss of a batch, nor one of each row")
        return losses


def _as_tensor(value: object) -> object:
    """A list of numbers as the tensor that losses of torch take, such as weights of classes."""
    is_list = isinstance(value, list) and all(isinstance(each, int | float) for each in value)
    return torch.tensor(value, dtype=torch.float32) if is_list else value


def _class_weights(training: Training, shapes: Shapes) -> list[float] | None:
    """Weight of each class by code; None where all rows count alike.

    Balanced weights are n / (k n_c) for a class of n_c of n rows and k classes, as scikit-learn's.

    Raises:
        SettingsError: A class with a weight is none of the training fold's.
    """
    given, classes, rows = training.class_weights, shapes.classes, shapes.class_rows
    if given is None or classes is None or rows is None:
        return None
    if given == "balanced":
        return [sum(rows) / (len(rows) * count) for count in rows]
    for name in given:
        if name not in classes:
            raise SettingsError(
                f"train_specialists.class_weights: no class {name!r} in the training fold; "
                f"{nearest(name, classes)}"
            )
    return [given.get(name, 1.0) for name in classes]


def is_lightning(module: torch.nn.Module) -> TypeIs[pl.LightningModule]:
    """Whether a module is a LightningModule, whose class has imported Lightning."""
    lightning = sys.modules.get("pytorch_lightning")
    return lightning is not None and isinstance(module, lightning.LightningModule)


def trainable(
    model: torch.nn.Module, training: Training, shapes: Shapes
) -> Supervised | pl.LightningModule:
    """The model itself if it is a LightningModule; else with the settings' loss and optimiser.

    Args:
        model: The user's model, trained in place either way.
        training: Loss and optimiser of a plain module; a LightningModule keeps its own.
        shapes: Task and classes, for the loss ``auto`` and for weights of classes.

    Raises:
        ModelError: A loss that settings name does not import, or does not take its arguments.
        SettingsError: A class with a weight is unknown.
    """
    if is_lightning(model):
        return model
    return Supervised(model, _loss(model, training, shapes), training)


def _loss(model: torch.nn.Module, training: Training, shapes: Shapes) -> RowLosses | None:
    """The loss of a plain module; None where it is what the module says itself."""
    if not isinstance(training.loss, str):
        return _Named(training.loss, shapes)
    weights = _class_weights(training, shapes)
    if weights is not None:
        return _Weighted(weights)
    if training.loss != "auto":
        return _LOSSES[training.loss]
    own = None if callable(getattr(model, "row_losses", None)) else rules(shapes.task).loss
    return _LOSSES[own] if own else None


def is_lean(module: torch.nn.Module, devices: int) -> TypeGuard[Supervised]:
    """Whether a module trains in Shoal's own loop (:mod:`shoal.training.lean`), not in Lightning.

    The rule: a plain module whose trained parameters are all float32, on one device.
    """
    return (
        isinstance(module, Supervised)
        and devices == 1
        and all(p.dtype == torch.float32 for p in module.parameters() if p.requires_grad)
    )
