"""The model's hyperparameters at one point of the grid."""

from __future__ import annotations

from typing import Any

from shoal.errors import SettingsError, nearest
from shoal.settings.learning import Model, Training
from shoal.settings.section import parse

Point = dict[str, Any]
_MODEL = "model."
_NOT_IN_GRID = ("rows_seen", "base_share", "buffer_rows")


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
