"""The model's hyperparameters at one point of the grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.errors import SettingsError, nearest
from shoal.formats.shapes import PREFIX
from shoal.settings.learning import Model, Training
from shoal.settings.section import parse
from shoal.settings.targets import OURS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shoal.formats.documents.choice import Point

_MODEL = "model."
NOT_IN_GRID = ("rows_seen", "epochs", "flops", "patience", "base_share", "buffer_rows")
"""Settings of ``train_specialists`` that no grid varies."""


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
    known = arguments | set(Training.model_fields).difference(NOT_IN_GRID)
    for name in point:
        if name not in known:
            shown = f"{name if name.isprintable() else ascii(name):.80}"
            raise SettingsError(f"grid.{shown}: unknown hyperparameter; {nearest(name, known)}")
    changes = {
        name.removeprefix(_MODEL): value for name, value in point.items() if name in arguments
    }
    changed: Model = parse(Model, model.as_json() | changes, "model")
    return changed


def check_grid(names: Iterable[str], model: Model) -> None:
    """Refuse what the settings' grid cannot vary.

    That is what is no hyperparameter, and arguments that are known to change the shape of the
    model's parameters: all of models that ship with Shoal, and of others those that the data fills
    in. What else changes shapes is found when the model is built.

    Raises:
        SettingsError: There is one; the message says what works.
    """
    arguments = model.arguments()
    training = [name for name in Training.model_fields if name not in NOT_IN_GRID]
    for name in names:
        argument = name.removeprefix(_MODEL)
        if argument == name and name not in training:
            known = training + [_MODEL + each for each in arguments]
            raise SettingsError(f"grid.{name}: unknown hyperparameter; {nearest(name, known)}")
        if argument == name:
            continue
        if argument not in arguments:
            raise SettingsError(f"grid.{name}: {_undeclared(argument, model, training)}")
        if model.target in OURS or str(arguments[argument]).startswith(PREFIX):
            raise SettingsError(
                f"grid.{name}: changes the shape of the model's parameters, but all points start "
                f"from one base; a list of values of {name} itself makes variants, each with a "
                f"base of its own"
            )


def _undeclared(argument: str, model: Model, training: list[str]) -> str:
    if argument == "_target_":
        return "all points are of one model; a list of models is model=[A,B]"
    known = nearest(argument, model.arguments())
    text = f"the settings of model have no {argument!r}; {known}"
    if argument in training:
        return f"{text}; of training it is grid.{argument}"
    return f"{text}; if {model.target} takes it, set model.{argument} too"
