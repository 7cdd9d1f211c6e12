"""A search of grid points: a sequence of steps, each of which trains a number of slots.

A plain grid is a search of one step. Under successive halving the slots of a later step go on from
where the best of the step before ended. Where points are proposed, a sampler draws those of a later
step by all losses before it. How many slots a step has is known before anything has run.

Source:
    Jamieson and Talwalkar 2016, Non-stochastic Best Arm Identification; Li et al. 2018, Hyperband.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from shoal.formats.hashing import settings_id
from shoal.settings.search import GridSampling, Halving, Range, space_size
from shoal.settings.section import parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shoal.formats.documents.choice import Point
    from shoal.search.space import Space
    from shoal.settings import Settings


@dataclass(frozen=True)
class Tried:
    """A slot that was trained.

    Attributes:
        name: Name of the slot, or of its weights.
        point: Its grid point.
        loss: Its mean validation loss; None where it diverged, or where there are no rows.
        diverged: Why it is trained no further; None where it may be.
    """

    name: str
    point: Point
    loss: float | None
    diverged: str | None

    @property
    def rank(self) -> tuple[bool, float, str]:
        """Sorts slots: lowest loss first, diverged ones last, equal ones by the point's id."""
        return self.diverged is not None, self.loss or 0.0, settings_id(self.point)


@dataclass(frozen=True)
class Next:
    """A slot of the next step.

    Attributes:
        point: Its grid point.
        after: Name of the slot whose training it goes on with; None where it starts anew.
        diverged: Why that training does not go on; None where it does.
    """

    point: Point
    after: str | None = None
    diverged: str | None = None


@dataclass(frozen=True)
class Steps:
    """The steps of a search.

    Attributes:
        space: Values or ranges by name.
        sampling: Which points of the space are tried.
        halving: How many of them go on.
    """

    space: Space
    sampling: GridSampling
    halving: Halving

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The steps of an experiment's search."""
        return cls(settings.grid, settings.search.grid, settings.search.halving)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read :meth:`as_json`."""
        space = {
            name: parse(Range, values, name) if isinstance(values, dict) else values
            for name, values in content["space"]
        }
        sampling = parse(GridSampling, content["sampling"], "search.grid")
        return cls(space, sampling, parse(Halving, content["halving"], "search.halving"))

    def as_json(self) -> dict[str, Any]:
        """The steps as JSON: names in pairs, as what is drawn depends on their order."""
        space = [
            [name, values.as_json() if isinstance(values, Range) else values]
            for name, values in self.space.items()
        ]
        return {
            "space": space,
            "sampling": self.sampling.as_json(),
            "halving": self.halving.as_json(),
        }

    @property
    def proposes(self) -> bool:
        """Whether a sampler proposes the points of later steps."""
        return bool(self._batches)

    @property
    def goes_on(self) -> bool:
        """Whether slots of later steps go on from the state of those before."""
        return self.halving.rungs > 1

    @property
    def drops(self) -> bool:
        """Whether it goes on without a point that diverges; a plain grid fails there."""
        return self.proposes or self.goes_on

    @property
    def count(self) -> int:
        """Number of steps."""
        return len(self._batches) or self.halving.rungs

    def slots(self, points: int) -> tuple[int, ...]:
        """How many slots each step trains.

        Args:
            points: How many points are known before anything has run: those of the first step.
        """
        return self._batches or self.halving.slots(points)

    def tried(self, points: int) -> int:
        """How many grid points are tried, of which so many in the first step."""
        return sum(self._batches) or points

    def divisors(self, step: int) -> tuple[int, int | None]:
        """``(this, previous)``: a step ends after 1/this of a training's steps.

        Previous is the same of the step before; None where a training starts anew.
        """
        if not self.goes_on:
            return 1, None
        return self.halving.divisor(step), self.halving.divisor(step - 1) if step else None

    def trainings(self, points: int) -> float:
        """Whole trainings that the search amounts to, with so many points in the first step."""
        return sum(self._batches) or self.halving.trainings(points)

    @property
    def identity(self) -> Any:  # noqa: ANN401 - any JSON value
        """Settings that decide, besides losses, which slots follow a step; samples do not."""
        if self.proposes:
            content = self.as_json()
            del content["halving"], content["sampling"]["samples"]
            return content
        return self.halving.as_json() if self.goes_on else None

    def after(self, tried: Sequence[Tried]) -> list[Next]:
        """The slots that may follow, of which the next step takes the first ones.

        Args:
            tried: Under halving the slots of the last step, else of all steps, in order.
        """
        if self.proposes:
            from shoal.search.proposals import propose

            return [Next(point) for point in propose(self.space, self.sampling, tried)]
        ranked = sorted(tried, key=lambda each: each.rank)
        return [Next(each.point, each.name, each.diverged) for each in ranked]

    @property
    def _batches(self) -> tuple[int, ...]:
        return self.sampling.batches(space_size(self.space))
