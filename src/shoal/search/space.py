"""Points of the model's hyperparameter space: every combination, or drawn."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from shoal.formats.hashing import canonical_json
from shoal.settings.sampling import distinct, index
from shoal.settings.search import Range

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from shoal.search.points import Point
    from shoal.settings.search import Sampling

    Space = Mapping[str, list[Any] | Range]


def combinations(space: Space) -> list[Point]:
    """Every point of a space whose ranges are of whole numbers, the last name's values first."""
    listed = itertools.product(*map(_listed, space.values()))
    return [dict(zip(space, values, strict=True)) for values in listed]


def drawn(space: Space, sampling: Sampling) -> list[Point]:
    """Distinct points in the order in which they are drawn.

    Args:
        space: Values or ranges by name.
        sampling: How, and how many.

    Raises:
        SettingsError: The space seems to have fewer.
    """
    # Values themselves may be lists, so points are told apart by their text.
    known: dict[str, Point] = {}

    def place(unit: NDArray[Any]) -> str:
        pairs = zip(space.values(), unit.tolist(), strict=True)
        point = dict(zip(space, (_value(*pair) for pair in pairs), strict=True))
        text = canonical_json(point)
        known[text] = point
        return text

    return [known[text] for text in distinct(sampling, len(space), place, "search.grid")]


def in_range(values: Range, number: float) -> int | float:
    """A number as a value of a range: whole, or of four digits, and between the ends."""
    if values.is_whole:
        return min(max(round(number), int(values.low)), int(values.high))
    # Four digits are read easily, and are the same on machines whose last bits differ.
    return min(max(float(f"{number:.4g}"), float(values.low)), float(values.high))


def _listed(values: list[Any] | Range) -> Iterable[Any]:
    """Values in order; those of a range are whole numbers."""
    if isinstance(values, Range):
        return range(int(values.low), int(values.high) + 1)
    return values


def _value(values: list[Any] | Range, unit: float) -> Any:  # noqa: ANN401 - a setting's
    """The value at a place in [0, 1)."""
    if isinstance(values, list):
        return values[index(unit, len(values))]
    # A whole number stands for the interval around it, so that the ends are drawn like others.
    margin = 0.5 if values.is_whole else 0.0
    low, high = values.low - margin, values.high + margin
    number = low * (high / low) ** unit if values.log else low + (high - low) * unit
    return in_range(values, number)
