"""Points of the model's hyperparameter grid."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from shoal.errors import SettingsError, nearest
from shoal.hashing import settings_id
from shoal.settings.learning import Model, Training
from shoal.settings.section import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

Point = dict[str, Any]
_MODEL = "model."
_NOT_IN_GRID = ("rows_seen", "base_share", "buffer_rows")


def points(grid: Mapping[str, list[Any]], model: Model, training: Training) -> dict[str, Point]:
    """Every combination of the grid's values, by an id that depends on the point alone.

    Args:
        grid: Values by name: a field of ``train_specialists``, or ``model.ARGUMENT``.
        model: The model whose arguments may vary.
        training: The training settings that may vary.

    Raises:
        SettingsError: A name is neither, a value is not of its type, or a list is empty or holds
            the same value twice.
    """
    for name, values in grid.items():
        if not values:
            raise SettingsError(f"grid.{name}: an empty list of values")
    found: dict[str, Point] = {}
    for combination in itertools.product(*grid.values()):
        point = dict(zip(grid, combination, strict=True))
        at_point(model, training, point)
        identity = settings_id(point)
        if identity in found:
            raise SettingsError(f"grid: the point {point} is there twice")
        found[identity] = point
    return found


def at_point(model: Model, training: Training, point: Point) -> tuple[Model, Training]:
    """Model and training settings with a point's values in place.

    Raises:
        SettingsError: A name is unknown or a value is not of its type.
    """
    training_json = training.as_json()
    known = [name for name in training_json if name not in _NOT_IN_GRID]
    for name, value in point.items():
        if name in known:
            training_json[name] = value
        elif not (name.startswith(_MODEL) and name.removeprefix(_MODEL) in model.arguments()):
            choices = known + [_MODEL + argument for argument in model.arguments()]
            raise SettingsError(f"grid.{name}: unknown hyperparameter; {nearest(name, choices)}")
    return model_at(model, point), parse(Training, training_json, "grid")


def model_at(model: Model, point: Point) -> Model:
    """Model settings with a point's model arguments in place: what its weights belong to."""
    arguments = {
        name.removeprefix(_MODEL): value for name, value in point.items() if name.startswith(_MODEL)
    }
    changed: Model = parse(Model, model.as_json() | arguments, "model")
    return changed
