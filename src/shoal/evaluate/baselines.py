"""The models a pool is compared with: the generalist, and specialists on random partitions."""

from __future__ import annotations

import math
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shoal.errors import DivergedError, ModelError
from shoal.formats.hashing import json_hash, settings_id
from shoal.formats.kinds import TRAIN, VALIDATION
from shoal.partitions.held import HeldRows, HeldShards
from shoal.partitions.random_partitions import RandomRows
from shoal.partitions.reader import choosing_rows
from shoal.search.points import at_point
from shoal.search.steps import Next, Tried
from shoal.training.fit import begin_on_rows, calling, train_on_shards
from shoal.training.lanes import side_by_side
from shoal.training.model import build_model, load_weights, mean_losses, weights
from shoal.training.processes import end_helpers
from shoal.training.resume import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from shoal.formats.documents.choice import Point
    from shoal.formats.ledger import Ledger
    from shoal.formats.shapes import Shapes
    from shoal.search.steps import Steps
    from shoal.settings.learning import Model, Training
    from shoal.training.budget import Budget
    from shoal.training.early import Held
    from shoal.training.loop import Begun
    from shoal.training.resume import Checkpoints

    Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Slot:
    """A training of a step of a search.

    Attributes:
        name: Id of its grid point.
        kind: What it has in common with models that may train side by side with it.
        net: The model, with the base's weights.
        training: Its settings.
    """

    name: str
    kind: str
    net: torch.nn.Module
    training: Training


class Search:
    """A search of grid points by the pool's steps, whoever trains.

    Attributes:
        shapes: Shape of rows and labels.
        steps: The steps.
        trainings: Trainings of all steps together, in whole ones.
    """

    def __init__(
        self,
        model: Model,
        training: Training,
        grid: Mapping[str, Point],
        steps: Steps,
        shapes: Shapes,
        base: Mapping[str, NDArray[Any]],
    ) -> None:
        """Keep what every training starts from."""
        self._model = model
        self._training = training
        self.steps = steps
        self.trainings = steps.trainings(len(grid))
        self.shapes = shapes
        self._base = base
        self._counts = steps.slots(len(grid))
        self._following = [Next(point) for point in grid.values()]
        self._slots: dict[str, Next] = {}
        self._tried: list[Tried] = []
        self._nets: dict[str, torch.nn.Module] = {}
        self._left: dict[str, Path] = {}
        self._step = 0

    def begin(self, step: int) -> list[Slot]:
        """The models that a step trains; those that have diverged are none."""
        following = self.steps.after(self._tried) if step else self._following
        if self.steps.goes_on:
            self._tried, self._nets = [], {}
        self._step = step
        self._slots = {settings_id(each.point): each for each in following[: self._counts[step]]}
        return [
            self._slot(name, slot.point)
            for name, slot in self._slots.items()
            if slot.diverged is None
        ]

    def _slot(self, name: str, point: Point) -> Slot:
        model, training = at_point(self._model, self._training, point)
        net = build_model(model, self.shapes, training.seed)
        load_weights(net, self._base)
        return Slot(name, json_hash([model.as_json(), training.loss_json]), net, training)

    def part(self, name: str, left: Path) -> Part | None:
        """The part of a training that the step does; None where it is all of it.

        Args:
            name: Id of the grid point.
            left: File of the state that the part leaves.
        """
        if not self.steps.goes_on:
            return None
        begun, self._left[name] = self._left.get(name), left
        return Part(*self.steps.divisors(self._step), begun, left)

    def judge(self, trained: Mapping[str, torch.nn.Module], held: Held) -> None:
        """Rank the step's models by their mean losses.

        Args:
            trained: Those that did not diverge, by id of the grid point.
            held: Validation rows that choose.
        """
        trained = {name: trained[name] for name in self._slots if name in trained}
        blocks = ((block["x"], block["y"]) for block in held.blocks())
        known = mean_losses(trained, blocks, self.shapes.task)
        finite = {name: loss for name, loss in known.items() if math.isfinite(loss)}
        for name, slot in self._slots.items():
            out = name not in trained or (bool(finite) and name not in finite)
            reason = "diverged" if out else None
            self._tried.append(Tried(name, slot.point, finite.get(name), reason))
        self._nets |= trained

    @property
    def best(self) -> tuple[Tensors, Point]:
        """Weights and point of the best model.

        Raises:
            ModelError: All have diverged.
        """
        best = min(self._tried, key=lambda each: each.rank)
        if best.name not in self._nets:
            raise ModelError("a baseline diverged at every grid point; lower grid.lr")
        return weights(self._nets[best.name]), best.point


class Baselines:
    """Trains baselines from the same base, with the same grid, chosen on the same rows."""

    def __init__(
        self,
        search: Callable[[], Search],
        training: Training,
        shards: Sequence[Path],
        checkpoints: Checkpoints,
    ) -> None:
        """Keep what every baseline starts from, and where its training is kept.

        Args:
            search: Begins a search from the base.
            training: Settings outside of the grid.
            shards: Encoded shards.
            checkpoints: The job's.
        """
        self._search = search
        self._training = training
        self._stops = training.patience is not None
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
        held = HeldShards(self._shards, self._training.buffer_rows)
        search = self._search()
        for step in range(search.steps.count):
            trained: dict[str, torch.nn.Module] = {}
            for slot in search.begin(step):
                with suppress(DivergedError):
                    train_on_shards(
                        slot.net,
                        self._shards,
                        slot.training,
                        search.shapes,
                        ledger,
                        flops=flops / search.trainings,
                        checkpoints=self._checkpoints,
                        part=search.part(slot.name, self._checkpoints.upcoming),
                        held=held if self._stops else None,
                    )
                    trained[slot.name] = slot.net
            search.judge(trained, held)
        end_helpers()
        return search.best

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
            Weights and the chosen point of each; None where no training row falls in.
        """
        with RandomRows(self._shards, bounds, seed, self._checkpoints.out.parent) as drawn:
            searches = {number: self._search() for number in range(len(bounds))}
            for step in range(searches[0].steps.count if searches else 0):
                self._step(searches, step, drawn, budget, ledger)
        for number in range(len(bounds)):
            yield searches[number].best if number in searches else None

    def _step(
        self,
        searches: dict[int, Search],
        step: int,
        drawn: RandomRows,
        budget: Budget,
        ledger: Ledger,
    ) -> None:
        """Do one step of the searches of random partitions, small models side by side.

        Searches of partitions without training rows are dropped.
        """
        costs: dict[str, dict[Hashable, int]] = defaultdict(dict)
        owners: dict[Begun, tuple[int, Slot]] = {}
        left: dict[int, dict[str, Slot]] = {}
        trained: dict[int, dict[str, torch.nn.Module]] = {}
        curves: dict[tuple[int, str], list[list[list[float]]]] = {}

        def line() -> Iterator[tuple[str, Begun]]:
            for number, search in list(searches.items()):
                rows = drawn.rows(number, TRAIN)
                if not len(rows["y"]):
                    del searches[number]
                    continue
                seen, own = budget.specialist_rows(len(rows["y"])), search.begin(step)
                left[number], trained[number] = {slot.name: slot for slot in own}, {}
                held = _held(drawn, number) if self._stops else None
                for slot in own:
                    curves[number, slot.name] = []
                    training = begin_on_rows(
                        slot.net,
                        rows,
                        slot.training,
                        search.shapes,
                        seen,
                        ledger,
                        self._checkpoints,
                        search.part(slot.name, self._checkpoints.upcoming),
                        costs[slot.kind],
                        held,
                    )
                    owners[training] = number, slot
                    yield slot.kind, training
                del rows  # before the next are read
                if not own:
                    search.judge({}, HeldRows({}))

        for training, failure in side_by_side(line()):
            number, slot = owners.pop(training)
            if not isinstance(failure, DivergedError):
                with calling(slot.net):
                    if failure is not None:
                        raise failure
                    training.close()
                curves[number, slot.name] = ledger.learning_curves[-1:]
                del ledger.learning_curves[-1:]
                trained[number][slot.name] = slot.net
            del left[number][slot.name]
            if not left[number]:
                searches[number].judge(trained.pop(number), _held(drawn, number))
        ledger.learning_curves += [curve for own in curves.values() for curve in own]


def _held(drawn: RandomRows, number: int) -> HeldRows:
    return HeldRows(choosing_rows(drawn.rows(number, VALIDATION)))
