"""Settings of the search: which points of a space are tried, and for how long."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PositiveInt, model_validator

from shoal.settings.section import Section


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


class Sampling(Section):
    """Which points of a space are tried."""

    sampler: Literal["sobol", "random"] = Field(
        description="sobol: spread evenly, by scrambled Sobol points; random: each by chance"
    )
    samples: PositiveInt | None = Field(
        description="points to take, of which a larger number adds to a smaller; null: all"
    )
    seed: int = Field(description="seed of the sampler")


class Halving(Section):
    """Successive halving: many points train a little, the better ones go on."""

    rungs: PositiveInt = Field(description="times points are compared; 1: all train to the end")
    reduction_factor: int = Field(
        ge=2,
        description="one in so many points goes on, and is trained so many times as long",
    )

    def slots(self, points: int) -> tuple[int, ...]:
        """How many points train on each rung, of so many; none where they are not halved."""
        if self.rungs == 1:
            return ()
        return tuple(max(1, points // self.reduction_factor**rung) for rung in range(self.rungs))

    def divisor(self, rung: int) -> int:
        """A point has trained one in so many of its steps when a rung ends."""
        return int(self.reduction_factor ** (self.rungs - 1 - rung))

    def trainings(self, points: int) -> float:
        """Whole trainings that trying so many points amounts to."""
        slots = self.slots(points) or (points,) * self.rungs
        shares = [1 / self.divisor(rung) for rung in range(self.rungs)]
        own = [share - before for share, before in zip(shares, [0.0, *shares], strict=False)]
        return sum(count * share for count, share in zip(slots, own, strict=True))


class Search(Section):
    """What is tried of variants and grid points, and for how long."""

    variants: Sampling
    grid: Sampling
    halving: Halving

    @property
    def halves(self) -> bool:
        """Whether grid points are halved."""
        return self.halving.rungs > 1


def is_range(value: Any) -> bool:  # noqa: ANN401 - any plain value
    """Whether a plain value is written as a range."""
    return isinstance(value, dict) and bool({"low", "high"} & value.keys())
