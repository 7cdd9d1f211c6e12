"""The models a pool is compared with: the generalist, and specialists on random partitions."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import DivergedError, ModelError
from shoal.formats.hashing import settings_id
from shoal.formats.kinds import TRAIN, VALIDATION
from shoal.formats.row_store import ShardRows
from shoal.partitions.held import HeldRows, HeldShards
from shoal.partitions.random_partitions import BASELINE_ROWS, RandomRows, in_canonical_order
from shoal.search.points import at_point
from shoal.search.steps import Next, Tried
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
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from shoal.formats.documents.choice import Point
    from shoal.formats.ledger import Ledger
    from shoal.formats.shapes import Shapes
    from shoal.search.steps import Steps
    from shoal.settings.learning import Model, Training
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
        steps: Steps,
        shapes: Shapes,
        base: Mapping[str, NDArray[Any]],
        shards: Sequence[Path],
        checkpoints: Checkpoints,
    ) -> None:
        """Keep what every baseline starts from, and where its training is kept."""
        self._model = model
        self._training = training
        self._grid = grid
        self._steps = steps
        self._shapes = shapes
        self._base = base
        self._shards = shards
        self._checkpoints = checkpoints

    def generalist(self, flops: float, ledger: Ledger) -> tuple[Tensors, Point]:
        """The base trained on with so many FLOPs at most, all grid points together; the best one.

        Args:
            flops: To spend at most, what the base itself may cost left out.
            ledger: Is charged.

        Returns:
            Weights and the chosen point.
        """
        each = flops / self._steps.trainings(len(self._grid))
        held = None
        if self._training.patience is not None:
            held = HeldShards(self._shards, self._training.buffer_rows)

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
                held=held,
            )

        return self._search(train, HeldRows.choosing(self._validation()))

    def random_specialists(
        self, bounds: Sequence[tuple[float, float]], seed: int, budget: Budget, ledger: Ledger
    ) -> Iterator[tuple[Tensors, Point] | None]:
        """The specialist of each random partition, at the same rate as the pool's.

        Args:
            bounds: The rows whose draw lies in an interval are a partition.
            seed: Seed of the draw.
            budget: Frozen with the base.
            ledger: Is charged.

        Yields:
            Weights and the chosen point; None where no training row falls in.
        """
        with RandomRows(self._shards, bounds, seed, self._checkpoints.out.parent) as drawn:
            for number in range(len(bounds)):
                rows = drawn.rows(number, TRAIN)
                if not len(rows["y"]):
                    yield None
                    continue
                seen = budget.specialist_rows(len(rows["y"]))
                held = HeldRows.choosing(drawn.rows(number, VALIDATION))
                yield self._search(self._on_rows(rows, seen, ledger, held), held)

    def _on_rows(self, rows: Tensors, seen: int, ledger: Ledger, held: HeldRows) -> Train:
        """Trains on rows in memory until so many are seen, or it stops early."""

        def train(net: torch.nn.Module, training: Training, part: Part | None) -> None:
            task, checkpoints = self._shapes.task, self._checkpoints
            train_on_rows(net, rows, training, task, seen, ledger, checkpoints, part, held)

        return train

    def _search(self, train: Train, held: HeldRows) -> tuple[Tensors, Point]:
        """Search grid points by the pool's steps; weights and point of the best."""
        x, y = held.rows["x"], held.rows["y"]
        following = [Next(point) for point in self._grid.values()]
        tried: list[Tried] = []
        nets: dict[str, torch.nn.Module] = {}
        begun: dict[str, Path] = {}
        for step, count in enumerate(self._steps.slots(len(self._grid))):
            following = self._steps.after(tried) if step else following
            if self._steps.goes_on:
                tried, nets = [], {}
            trained: dict[str, torch.nn.Module] = {}
            slots = {settings_id(each.point): each for each in following[:count]}
            for name, slot in slots.items():
                if slot.diverged is None:
                    with suppress(DivergedError):
                        trained[name] = self._trained(train, slot.point, step, begun)
            known = mean_losses(trained, x, y, self._shapes.task) if len(y) else {}
            finite = {name: loss for name, loss in known.items() if math.isfinite(loss)}
            for name, slot in slots.items():
                out = name not in trained or (bool(finite) and name not in finite)
                tried.append(Tried(name, slot.point, finite.get(name), "diverged" if out else None))
            nets |= trained
        end_helpers()
        best = min(tried, key=lambda each: each.rank)
        if best.name not in nets:
            raise ModelError("a baseline diverged at every grid point; lower grid.lr")
        return weights(nets[best.name]), best.point

    def _trained(
        self, train: Train, point: Point, step: int, begun: dict[str, Path]
    ) -> torch.nn.Module:
        """A model trained until a step ends; ``begun`` has where each point's training is."""
        model, training = at_point(self._model, self._training, point)
        net = build_model(model, self._shapes, training.seed)
        load_weights(net, self._base)
        name, left, part = settings_id(point), self._checkpoints.upcoming, None
        if self._steps.goes_on:
            part = Part(*self._steps.divisors(step), begun.get(name), left)
        train(net, training, part)
        begun[name] = left
        return net

    def _validation(self) -> Tensors:
        """All validation rows, in canonical order."""
        parts: list[Tensors] = []
        for path in self._shards:
            with ShardRows(path) as shard:
                for block in shard.blocks(shard.names((*BASELINE_ROWS, "fold"))):
                    inside = block.pop("fold") == VALIDATION
                    parts.append({name: array[inside] for name, array in block.items()})
        rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return in_canonical_order(rows)
