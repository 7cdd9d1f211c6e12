"""The models a pool is compared with: the generalist, and specialists on random partitions."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import DivergedError, ModelError
from shoal.evaluate.random_partitions import random_draw
from shoal.formats.hashing import row_order, settings_id
from shoal.formats.row_store import ShardRows
from shoal.formats.tables import TRAIN, VALIDATION
from shoal.formats.units import UNIT
from shoal.partitions.reader import halves
from shoal.search.points import at_point
from shoal.train_specialists.proposals import Told
from shoal.training.fit import train_on_rows, train_on_shards
from shoal.training.model import (
    build_model,
    load_weights,
    mean_losses,
    weights,
)
from shoal.training.processes import end_helpers
from shoal.training.resume import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from shoal.formats.ledger import Ledger
    from shoal.formats.shapes import Shapes
    from shoal.search.points import Point
    from shoal.settings.learning import Model, Training
    from shoal.settings.search import Halving
    from shoal.train_specialists.proposals import Proposer
    from shoal.training.budget import Budget
    from shoal.training.resume import Checkpoints

    Tensors = dict[str, NDArray[Any]]
    Train = Callable[[torch.nn.Module, Training, Part | None], None]


class Baselines:
    """Trains baselines from the same base, with the same grid, chosen on the same rows."""

    def __init__(
        self,
        model: Model,
        training: Training,
        grid: Mapping[str, Point],
        halving: Halving,
        proposer: Proposer | None,
        shapes: Shapes,
        base: Mapping[str, NDArray[Any]],
        shards: Sequence[Path],
        checkpoints: Checkpoints,
    ) -> None:
        """Keep what every baseline starts from, and where its training is kept."""
        self._model = model
        self._training = training
        self._grid = grid
        self._halving = halving
        self._proposer = proposer
        self._shapes = shapes
        self._base = base
        self._shards = shards
        self._checkpoints = checkpoints

    def generalist(self, flops: float, ledger: Ledger) -> tuple[Tensors, Point]:
        """The base trained on with so many FLOPs, for all grid points together; the best one.

        Args:
            flops: To spend, what the base itself cost already left out.
            ledger: Is charged.

        Returns:
            Weights and the chosen point.
        """
        trainings = self._halving.trainings(len(self._grid))
        each = flops / (trainings if self._proposer is None else sum(self._proposer.batches))

        def train(net: torch.nn.Module, training: Training, part: Part | None) -> None:
            train_on_shards(
                net,
                self._shards,
                training,
                self._shapes.task,
                ledger,
                flops=each,
                checkpoints=self._checkpoints,
                part=part,
            )

        return self._search(train, self._rows(VALIDATION, _EVERYWHERE))

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
        seen = budget.specialist_rows(len(rows["y"]))
        task = self._shapes.task

        def train(net: torch.nn.Module, training: Training, part: Part | None) -> None:
            train_on_rows(net, rows, training, task, seen, ledger, self._checkpoints, part)

        return self._search(train, self._rows(VALIDATION, bounds, seed))

    def _search(self, train: Train, validation: Tensors) -> tuple[Tensors, Point]:
        """Grid points tried as the pool's are; weights and point of the best."""
        first = halves(validation) == 0
        x, y = validation["x"][first], validation["y"][first]

        def losses(nets: Mapping[str, torch.nn.Module]) -> dict[str, float]:
            found = mean_losses(nets, x, y, self._shapes.task) if len(y) else {}
            return {point: loss for point, loss in found.items() if math.isfinite(loss)}

        def ranked(nets: Mapping[str, torch.nn.Module]) -> list[str]:
            finite = losses(nets)
            worst = math.inf if len(y) else 0.0
            return sorted(nets, key=lambda point: (finite.get(point, worst), point))

        points = dict(self._grid)
        if self._proposer is not None:
            nets = self._proposed(train, losses, self._proposer, points)
        elif self._halving.rungs == 1:
            nets = {name: self._trained(train, point, None) for name, point in points.items()}
        else:
            nets = self._halved(train, ranked)
        end_helpers()
        chosen = ranked(nets)[0]
        return weights(nets[chosen]), points[chosen]

    def _proposed(
        self,
        train: Train,
        losses: Callable[[Mapping[str, torch.nn.Module]], dict[str, float]],
        proposer: Proposer,
        points: dict[str, Point],
    ) -> dict[str, torch.nn.Module]:
        """Models of all points that do not diverge; ``points`` gets those that are proposed."""
        nets: dict[str, torch.nn.Module] = {}
        told: list[Told] = []
        batch = dict(points)
        for number, count in enumerate(proposer.batches):
            if number:
                batch = {settings_id(point): point for point in proposer.propose(told)[:count]}
                points |= batch
            trained: dict[str, torch.nn.Module] = {}
            for name, point in batch.items():
                with suppress(DivergedError):
                    trained[name] = self._trained(train, point, None)
            known = losses(trained)
            for name, point in batch.items():
                out = name not in trained or (bool(known) and name not in known)
                told.append(Told(point, known.get(name), "diverged" if out else None))
            nets |= trained
        if not nets:
            raise ModelError(_DIVERGED)
        return nets

    def _halved(
        self, train: Train, ranked: Callable[[Mapping[str, torch.nn.Module]], list[str]]
    ) -> dict[str, torch.nn.Module]:
        """Models of the points that reach the last rung; those that diverge are out."""
        alive, before = list(self._grid), None
        begun: dict[str, Path] = {}
        nets: dict[str, torch.nn.Module] = {}
        for rung, count in enumerate(self._halving.slots(len(self._grid))):
            alive = ranked(nets)[:count] if rung else alive
            nets, divisor = {}, self._halving.divisor(rung)
            for point in alive:
                left = self._checkpoints.upcoming
                part = Part(divisor, before, begun.get(point), left)
                with suppress(DivergedError):
                    nets[point] = self._trained(train, self._grid[point], part)
                    begun[point] = left
            before = divisor
            if not nets:
                raise ModelError(_DIVERGED)
        return nets

    def _trained(self, train: Train, point: Point, part: Part | None) -> torch.nn.Module:
        model, training = at_point(self._model, self._training, point)
        net = build_model(model, self._shapes, training.seed)
        load_weights(net, self._base)
        train(net, training, part)
        return net

    def _rows(self, fold: int, bounds: tuple[float, float], seed: int = 0) -> Tensors:
        """Rows of a fold whose draw lies within bounds, in canonical order."""
        parts: list[Tensors] = []
        for path in self._shards:
            with ShardRows(path) as shard:
                for block in shard.blocks(shard.names(_NAMES)):
                    draw = random_draw(block["key"], seed)
                    inside = (block["fold"] == fold) & (bounds[0] <= draw) & (draw < bounds[1])
                    parts.append({name: array[inside] for name, array in block.items()})
        rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        order = row_order(rows["hash"])
        return {name: array[order] for name, array in rows.items()}


_NAMES = ("x", "y", "key", "hash", "fold", UNIT)
_DIVERGED = "a baseline diverged at every grid point; lower grid.lr"
_EVERYWHERE = (0.0, 1.0)
