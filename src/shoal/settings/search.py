"""Settings of the search: which points of a space are tried, and for how long."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from shoal.settings.section import Section, Seed

if TYPE_CHECKING:
    from collections.abc import Mapping


SIDES = 3
"""A variant's budget is for its pool, its generalist, and specialists of random partitions."""


class Range(Section):
    """Values between two ends, for samplers; whole numbers where both ends are."""

    low: int | float = Field(description="of a range: the lower end, which may be drawn itself")
    high: int | float = Field(description="of a range: the upper end, which may be drawn itself")
    log: bool = Field(default=False, description="of a range: draw evenly on a logarithmic scale")

    @model_validator(mode="after")
    def _is_a_range(self) -> Range:
        if self.high <= self.low:
            raise ValueError(f"high, {self.high:g}, is not above low, {self.low:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low:g}, but a logarithmic scale begins above zero")
        return self

    @property
    def is_whole(self) -> bool:
        """Whether its values are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def size(self) -> float:
        """How many values it has."""
        return int(self.high) - int(self.low) + 1 if self.is_whole else math.inf


class Sampling(Section):
    """Which points of a space are tried."""

    sampler: Literal["sobol", "random"] = Field(
        description="sobol: spread evenly, by scrambled Sobol points; random: each by chance"
    )
    samples: PositiveInt | None = Field(
        description="points to take, of which a larger number adds to a smaller; null: all"
    )
    seed: Seed = Field(description="seed of the sampler")


class GridSampling(Section):
    """Which grid points are tried: drawn beforehand, or proposed by what others have lost."""

    sampler: Literal["sobol", "random", "tpe", "gp"] = Field(
        description="sobol, random: points are drawn beforehand; tpe, gp: Optuna proposes them in "
        "each partition, by what those before have lost there"
    )
    samples: PositiveInt | None = Field(
        description="points to take, of which a larger number adds to a smaller; null: all"
    )
    batch: PositiveInt = Field(
        description="of tpe and gp: points that are proposed at a time, and then train side by side"
    )
    seed: Seed = Field(description="seed of the sampler")

    @model_validator(mode="after")
    def _proposes_so_many(self) -> GridSampling:
        if self.proposes and self.samples is None:
            raise ValueError(f"{self.sampler} proposes a number of points, set samples")
        return self

    @property
    def proposes(self) -> bool:
        """Whether points are proposed, not drawn."""
        return self.sampler in ("tpe", "gp")

    def drawn(self, samples: int | None) -> Sampling:
        """How so many points are drawn; before any is proposed, and where none can be: Sobol's."""
        sampler: Literal["sobol", "random"] = "random" if self.sampler == "random" else "sobol"
        return Sampling(sampler=sampler, samples=samples, seed=self.seed)

    def batches(self, size: float) -> tuple[int, ...]:
        """How many points each batch trains.

        Args:
            size: How many points the space has.

        Returns:
            Their numbers; none where points are not proposed, as where all are taken.
        """
        if not self.proposes or self.samples is None or self.samples >= size:
            return ()
        whole, rest = divmod(self.samples, self.batch)
        return (self.batch,) * whole + ((rest,) if rest else ())


class Halving(Section):
    """Successive halving: many points train a little, the better ones go on."""

    rungs: PositiveInt = Field(description="times points are compared; 1: all train to the end")
    reduction_factor: int = Field(
        ge=2,
        description="one in so many points goes on, and is trained so many times as long",
    )

    def slots(self, points: int) -> tuple[int, ...]:
        """How many points train on each rung, of so many."""
        return tuple(max(1, points // self.reduction_factor**rung) for rung in range(self.rungs))

    def divisor(self, rung: int) -> int:
        """A rung ends when a point has trained one in so many of its steps."""
        return int(self.reduction_factor ** (self.rungs - 1 - rung))

    def trainings(self, points: int) -> float:
        """Whole trainings that trying so many points amounts to."""
        shares = [1 / self.divisor(rung) for rung in range(self.rungs)]
        own = [share - before for share, before in zip(shares, [0.0, *shares], strict=False)]
        return sum(count * share for count, share in zip(self.slots(points), own, strict=True))


class Budget(Section):
    """What all variants may take together."""

    train_flops: PositiveFloat | None = Field(
        description="training FLOPs of all variants together, in place of train_specialists' "
        "budget: each has an equal part, a third of it for its pool, its generalist and its random "
        "partitions each; null: each variant has the budget of its own settings"
    )
    hours: PositiveFloat | None = Field(
        description="the same in hours of one process, at flops_per_second"
    )
    flops_per_second: PositiveFloat = Field(
        description="speed by which hours are FLOPs; no measured one, so that a budget stays one"
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Budget:
        if self.train_flops is not None and self.hours is not None:
            raise ValueError("train_flops and hours are two budgets; set one of them null")
        return self

    @property
    def total(self) -> float | None:
        """FLOPs of all; None where there is no such budget."""
        if self.hours is not None:
            return self.hours * 3600 * self.flops_per_second
        return self.train_flops

    def each(self, variants: int) -> float | None:
        """FLOPs that making one pool may take, in four digits.

        Args:
            variants: How many share the budget.
        """
        if self.total is None:
            return None
        own = self.total / (SIDES * variants)
        digits = 3 - math.floor(math.log10(own))
        return math.floor(own * 10.0**digits) / 10.0**digits


class Search(Section):
    """How variants and grid points are searched, and for how long."""

    variants: Sampling
    budget: Budget
    grid: GridSampling
    halving: Halving


def is_range(value: Any) -> bool:  # noqa: ANN401 - any plain value
    """Whether a plain value is written as a range."""
    return isinstance(value, dict) and bool({"low", "high"} & value.keys())


def space_size(space: Mapping[str, list[Any] | Range]) -> float:
    """How many points a grid has, lists and ranges together."""
    sizes = (each.size if isinstance(each, Range) else len(each) for each in space.values())
    return math.prod(sizes)
