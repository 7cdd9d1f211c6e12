"""The points of the model's hyperparameter grid that are known before anything has run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.errors import SettingsError
from shoal.formats.hashing import settings_id
from shoal.search.points import Point, at_point, check_grid
from shoal.search.space import combinations, drawn
from shoal.settings.search import Range, space_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shoal.settings import Settings
    from shoal.settings.learning import Model, Training
    from shoal.settings.search import GridSampling

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


def proposing(settings: Settings) -> dict[str, Any]:
    """How points are proposed, as :meth:`~shoal.train_specialists.proposals.Proposer.from_text`.

    In pairs, since what is drawn hangs on the order of names, which mappings in JSON text lose.
    """
    space = [[name, values] for name, values in settings.as_json()["grid"].items()]
    return {"space": space, "sampling": settings.search.grid.as_json()}


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
