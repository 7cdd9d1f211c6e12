"""Probes: copies of the base that are trained a little, to see what a cut of the data is worth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from shoal.training.fit import train_on_rows
from shoal.training.flops import forward_flops
from shoal.training.model import build_model, load_weights, predict, row_losses, weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from shoal.cluster.labelled import LabelledRows
    from shoal.formats.ledger import Ledger
    from shoal.formats.shapes import Shapes
    from shoal.settings.learning import Model, Training

    Labels = NDArray[np.int32]
    Losses = NDArray[np.float64]


@dataclass(frozen=True)
class Recipe:
    """What probes are made of.

    Attributes:
        model: The user's class and its arguments.
        training: Loss, optimiser and order, those of specialists.
        shapes: Shape of rows and labels.
        base: Weights that probes start from.
        ledger: Is charged for training and for losses.
    """

    model: Model
    training: Training
    shapes: Shapes
    base: Mapping[str, NDArray[Any]]
    ledger: Ledger

    def net(self, tensors: Mapping[str, NDArray[Any]]) -> torch.nn.Module:
        """The model with these weights."""
        net = build_model(self.model, self.shapes, self.training.seed)
        load_weights(net, tensors)
        return net

    def charge(self, part: str, flops: float) -> None:
        """Count FLOPs, which the ledger also names as a part."""
        self.ledger.flops += flops
        self.ledger.detail[part] = self.ledger.detail.get(part, 0.0) + flops


@dataclass
class Probes:
    """One probe a partition, trained on rows in memory; each training goes on from the last.

    Attributes:
        recipe: What they are made of.
        rows: Training rows.
        partitions: Number of probes.
    """

    recipe: Recipe
    rows: LabelledRows
    partitions: int
    _weights: list[Mapping[str, NDArray[Any]]] = field(init=False)
    _trained: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._weights = [self.recipe.base] * self.partitions

    def train(self, partition: Labels, rows_seen: float) -> None:
        """Train every probe on its partition, all together for so many rows.

        Args:
            partition: Of each training row, int32 ``(rows,)``.
            rows_seen: Rows of all probes, repeats counted; each has its partition's share.
        """
        recipe, before = self.recipe, self.recipe.ledger.flops
        seed = recipe.training.seed + self._trained
        training = recipe.training.model_copy(update={"seed": seed})
        for number in range(self.partitions):
            own = np.flatnonzero(partition == number)
            if not len(own):
                continue
            net = recipe.net(self._weights[number])
            arrays = {"x": self.rows.x[own], "y": self.rows.y[own]}
            rows = round(rows_seen * len(own) / len(partition))
            train_on_rows(net, arrays, training, recipe.shapes.task, rows, recipe.ledger)
            self._weights[number] = weights(net)
        self._trained += 1
        spent = recipe.ledger.flops - before
        recipe.ledger.flops = before
        recipe.charge("probes", spent)

    def losses(self, number: int, rows: LabelledRows) -> Losses:
        """Loss of each row under one probe, float64 ``(rows,)``."""
        recipe = self.recipe
        net = recipe.net(self._weights[number])
        recipe.charge("losses", _forward_flops(net, rows.x))
        return row_losses(predict(net, rows.x, recipe.shapes.task), rows.y, recipe.shapes.task)

    def all_losses(self, places: NDArray[np.int64]) -> Losses:
        """Loss of training rows under every probe, float64 ``(places, partitions)``."""
        rows = self.rows.at(places)
        return np.stack([self.losses(number, rows) for number in range(self.partitions)], axis=1)

    def own_losses(self, partition: Labels, rows: LabelledRows) -> Losses:
        """Loss of each row under the probe of its partition, float64 ``(rows,)``."""
        losses = np.zeros(len(rows))
        for number in np.unique(partition).tolist():
            own = np.flatnonzero(partition == number)
            losses[own] = self.losses(number, rows.at(own))
        return losses


def _forward_flops(net: torch.nn.Module, x: NDArray[np.float32]) -> float:
    return float(forward_flops(net, torch.zeros((1, *x.shape[1:])))) * len(x)
