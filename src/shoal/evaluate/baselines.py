"""The models a pool is compared with: the generalist, and specialists on random partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.evaluate.random_partitions import random_draw
from shoal.grid import at_point
from shoal.hashing import row_order
from shoal.processes import end_helpers
from shoal.store import ShardRows
from shoal.tables import TRAIN, VALIDATION
from shoal.train_specialists.fit import train_on_rows, train_on_shards
from shoal.train_specialists.model import (
    best_point,
    build_model,
    load_weights,
    mean_losses,
    weights,
)
from shoal.train_specialists.partition_rows import halves

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from shoal.grid import Point
    from shoal.ledger import Ledger
    from shoal.resume import Checkpoints
    from shoal.settings.learning import Model, Training
    from shoal.shapes import Shapes
    from shoal.train_specialists.budget import Budget

    Tensors = dict[str, NDArray[Any]]


class Baselines:
    """Trains baselines from the same base, with the same grid, chosen on the same rows."""

    def __init__(
        self,
        model: Model,
        training: Training,
        grid: Mapping[str, Point],
        shapes: Shapes,
        base: Mapping[str, NDArray[Any]],
        shards: Sequence[Path],
        checkpoints: Checkpoints,
    ) -> None:
        """Keep what every baseline starts from, and where its training is kept."""
        self._model = model
        self._training = training
        self._grid = grid
        self._shapes = shapes
        self._base = base
        self._shards = shards
        self._checkpoints = checkpoints

    def generalist(self, flops: float, ledger: Ledger) -> tuple[Tensors, Point]:
        """The base trained on with so many FLOPs, shared by all grid points; the best one.

        Args:
            flops: To spend, what the base itself cost already left out.
            ledger: Is charged.

        Returns:
            Weights and the chosen point.
        """
        nets = {}
        for identity, point in self._grid.items():
            model, training = at_point(self._model, self._training, point)
            net = build_model(model, self._shapes, training.seed)
            load_weights(net, self._base)
            share = flops / len(self._grid)
            train_on_shards(
                net,
                self._shards,
                training,
                self._shapes.task,
                ledger,
                flops=share,
                checkpoints=self._checkpoints,
            )
            nets[identity] = net
        end_helpers()
        return self._best(nets, self._rows(VALIDATION, _EVERYWHERE))

    def random_specialist(
        self, bounds: tuple[float, float], seed: int, budget: Budget, ledger: Ledger
    ) -> tuple[Tensors, Point] | None:
        """The specialist of one random partition, at the same rate as the pool's.

        Args:
            bounds: The rows whose draw lies in this interval are the partition.
            seed: Seed of the draw.
            budget: Frozen with the base.
            ledger: Is charged.

        Returns:
            Weights and the chosen point; None where no training row falls in.
        """
        rows = self._rows(TRAIN, bounds, seed)
        if not len(rows["y"]):
            return None
        nets = {}
        for identity, point in self._grid.items():
            model, training = at_point(self._model, self._training, point)
            net = build_model(model, self._shapes, training.seed)
            load_weights(net, self._base)
            seen = budget.specialist_rows(len(rows["y"]))
            task = self._shapes.task
            train_on_rows(net, rows, training, task, seen, ledger, self._checkpoints)
            nets[identity] = net
        return self._best(nets, self._rows(VALIDATION, bounds, seed))

    def _best(
        self, nets: Mapping[str, torch.nn.Module], validation: Mapping[str, NDArray[Any]]
    ) -> tuple[Tensors, Point]:
        """The model with the lowest loss on the half of validation that chooses."""
        first = halves(validation["key"]) == 0
        losses: dict[str, float] = {}
        if first.any():
            x, y = validation["x"][first], validation["y"][first]
            losses = mean_losses(nets, x, y, self._shapes.task)
        chosen = best_point(nets, losses)
        return weights(nets[chosen]), self._grid[chosen]

    def _rows(self, fold: int, bounds: tuple[float, float], seed: int = 0) -> Tensors:
        """Rows of a fold whose draw lies within bounds, in canonical order."""
        parts: list[Tensors] = []
        for path in self._shards:
            with ShardRows(path) as shard:
                for block in shard.blocks(["x", "y", "key", "hash", "fold"]):
                    draw = random_draw(block["key"], seed)
                    inside = (block["fold"] == fold) & (bounds[0] <= draw) & (draw < bounds[1])
                    parts.append({name: array[inside] for name, array in block.items()})
        rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        order = row_order(rows["hash"])
        return {name: array[order] for name, array in rows.items()}


_EVERYWHERE = (0.0, 1.0)
