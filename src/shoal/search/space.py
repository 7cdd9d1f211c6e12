"""Points of the model's hyperparameter space: every combination, or drawn."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from shoal.errors import SettingsError
from shoal.formats.hashing import canonical_json, settings_id
from shoal.search.points import at_point, check_grid
from shoal.settings.sampling import distinct, index
from shoal.settings.search import Range, space_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from shoal.formats.documents.choice import Point
    from shoal.settings.learning import Model, Training
    from shoal.settings.search import GridSampling, Sampling

    Space = Mapping[str, list[Any] | Range]


def points(
    grid: Space, model: Model, training: Training, sampling: GridSampling | None = None
) -> dict[str, Point]:
    """The grid's points by an id that depends on the point alone: all of them, or a sample.

    Where points are proposed, those of the first batch, which are drawn.

    Args:
        grid: Values or ranges by name: a field of ``train_specialists``, or ``model.ARGUMENT``.
        model: The model whose arguments may vary.
        training: The training settings that may vary.
        sampling: Which combinations; all if not given.

    Raises:
        SettingsError: A name is neither, or an argument that changes the shape of parameters; a
            value is not of its type, a list is empty or holds the same value twice, a range is
            not sampled, the sample is larger than the space, or points are to be proposed and
            Optuna is not installed.
    """
    check_grid(grid, model)
    for name, values in grid.items():
        if not values:
            raise SettingsError(f"grid.{name}: an empty list of values")
    found: dict[str, Point] = {}
    for point in _taken(grid, sampling):
        at_point(model, training, point)
        identity = settings_id(point)
        if identity in found:
            raise SettingsError(f"grid: the point {point} is there twice")
        found[identity] = point
    if sampling is not None and sampling.batches(space_size(grid)):
        for point in _ends(grid, next(iter(found.values()))):
            at_point(model, training, point)
        _require_optuna(sampling.sampler)
    return found


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


def _taken(grid: Space, sampling: GridSampling | None) -> list[Point]:
    size = space_size(grid)
    if sampling is None or sampling.samples is None:
        ranges = [name for name, values in grid.items() if isinstance(values, Range)]
        if ranges:
            raise SettingsError(f"grid.{ranges[0]}: a range is sampled, set search.grid.samples")
    if sampling is None or sampling.samples is None or sampling.samples >= size:
        return combinations(grid)
    batches = sampling.batches(size)
    return drawn(grid, sampling.drawn(batches[0] if batches else sampling.samples))


def _ends(grid: Space, point: Point) -> Iterator[Point]:
    """A point with each value that may be proposed, so that none is refused later."""
    for name, values in grid.items():
        ends = [values.low, values.high] if isinstance(values, Range) else values
        yield from (point | {name: value} for value in ends)


def _require_optuna(sampler: str) -> None:
    from importlib.util import find_spec

    if find_spec("optuna") is None:
        raise SettingsError(
            f"search.grid.sampler: {sampler} is one of Optuna's: pip install 'shoal[optuna]'"
        )
