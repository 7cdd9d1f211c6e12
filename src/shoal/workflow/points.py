"""The points of the model's hyperparameter grid: all of them, or a sample."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from shoal.errors import SettingsError
from shoal.grid import Point, at_point
from shoal.hashing import canonical_json, settings_id
from shoal.sampling import distinct, index
from shoal.settings.search import Range

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from shoal.settings.learning import Model, Training
    from shoal.settings.search import Sampling


def points(
    grid: Mapping[str, list[Any] | Range],
    model: Model,
    training: Training,
    sampling: Sampling | None = None,
) -> dict[str, Point]:
    """The grid's points by an id that depends on the point alone: every combination, or a sample.

    Args:
        grid: Values or ranges by name: a field of ``train_specialists``, or ``model.ARGUMENT``.
        model: The model whose arguments may vary.
        training: The training settings that may vary.
        sampling: Which combinations; all if not given.

    Raises:
        SettingsError: A name is neither, a value is not of its type, a list is empty or holds
            the same value twice, a range is not sampled, or the sample is larger than the space.
    """
    for name, values in grid.items():
        if not values:
            raise SettingsError(f"grid.{name}: an empty list of values")
    found: dict[str, Point] = {}
    for combination in _combinations(grid, sampling):
        point = dict(zip(grid, combination, strict=True))
        at_point(model, training, point)
        identity = settings_id(point)
        if identity in found:
            raise SettingsError(f"grid: the point {point} is there twice")
        found[identity] = point
    return found


def _combinations(
    grid: Mapping[str, list[Any] | Range], sampling: Sampling | None
) -> Iterable[tuple[Any, ...]]:
    size = math.prod(_size(values) for values in grid.values())
    if sampling is None or sampling.samples is None:
        ranges = [name for name, values in grid.items() if isinstance(values, Range)]
        if ranges:
            raise SettingsError(f"grid.{ranges[0]}: a range is sampled, set search.grid.samples")
    if sampling is not None and sampling.samples is not None and sampling.samples < size:
        return _sampled(grid, sampling)
    return itertools.product(*map(_listed, grid.values()))


def _sampled(
    grid: Mapping[str, list[Any] | Range], sampling: Sampling
) -> Iterable[tuple[Any, ...]]:
    """Distinct combinations; values themselves may be lists, so their text tells them apart."""
    known: dict[str, tuple[Any, ...]] = {}

    def place(unit: NDArray[Any]) -> str:
        drawn = tuple(_value(*pair) for pair in zip(grid.values(), unit.tolist(), strict=True))
        text = canonical_json(drawn)
        known[text] = drawn
        return text

    return [known[text] for text in distinct(sampling, len(grid), place, "search.grid")]


def _size(values: list[Any] | Range) -> float:
    if isinstance(values, Range):
        return int(values.high) - int(values.low) + 1 if values.is_whole else math.inf
    return len(values)


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
    value = low * (high / low) ** unit if values.log else low + (high - low) * unit
    if values.is_whole:
        return min(max(round(value), int(values.low)), int(values.high))
    # Four digits are read easily, and are the same on machines whose last bits differ.
    return min(max(float(f"{value:.4g}"), float(values.low)), float(values.high))
