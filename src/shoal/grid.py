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
    changed = model_at(model, point)
    own = {name: value for name, value in point.items() if not name.startswith(_MODEL)}
    return changed, parse(Training, training.as_json() | own, "grid")


def model_at(model: Model, point: Point) -> Model:
    """Model settings with a point's model arguments in place: what its weights belong to.

    A point may come from any file, so it names nothing but arguments that the model's settings
    declare, never the model's class, and training settings.

    Raises:
        SettingsError: A name is unknown.
    """
    arguments = {_MODEL + name for name in model.arguments()}
    known = arguments | set(Training.model_fields).difference(_NOT_IN_GRID)
    for name in point:
        if name not in known:
            shown = f"{name if name.isprintable() else ascii(name):.80}"
            raise SettingsError(f"grid.{shown}: unknown hyperparameter; {nearest(name, known)}")
    changes = {
        name.removeprefix(_MODEL): value for name, value in point.items() if name in arguments
    }
    changed: Model = parse(Model, model.as_json() | changes, "model")
    return changed
