"""The user's model before the first job: imported, given its arguments, built at grid values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from shoal.errors import SettingsError
from shoal.formats.shapes import Shapes
from shoal.search.points import model_at
from shoal.settings.user_code import check_arguments
from shoal.training.model import build_model, model_class

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shoal.settings.learning import Model

    StateShapes = dict[str, tuple[int, ...]]

_MADE_UP = Shapes(
    x_shape=[8, 8],
    outputs=3,
    task="classification",
    classes=["a", "b", "c"],
    training_rows=1,
    feature_names=[],
    trusted=[],
)
"""Stands for facts of the data that are not known yet; no model is refused because of its size."""


def check_model(
    model: Model, grid: Mapping[str, Sequence[Any]], seed: int, known: Sequence[Shapes]
) -> None:
    """Refuse a model that no job could train.

    Args:
        model: Class and arguments.
        grid: Values by name of the hyperparameters that vary; only ``model.ARGUMENT`` matter.
        seed: Seed of the initial weights.
        known: Shapes of the encoded rows, of each variant that has some; the model is built for
            each.

    Raises:
        ModelError: The class does not import, is no module, does not take its arguments, or
            cannot be built or used where shapes are known.
        SettingsError: A grid value changes the shape of parameters.
    """
    facts = known[0] if known else _MADE_UP
    arguments = facts.fill(model.arguments())
    check_arguments(model_class(model), f"model {model.target}", **arguments)
    for shapes in known:
        build_model(model, shapes, seed)
    varied = {name: values for name, values in grid.items() if name.startswith("model.")}
    own = _state_shapes(model, facts) if varied else None
    for name, values in varied.items():
        for value in values:
            changed = _state_shapes(model_at(model, {name: value}), facts)
            if own is not None and changed is not None and own != changed:
                raise SettingsError(
                    f"grid.{name}: {value!r} {_difference(own, changed)}; all points start from "
                    f"one base, so a grid may not change the shape of parameters: set {name} "
                    f"itself, to one value"
                )


def _state_shapes(model: Model, shapes: Shapes) -> StateShapes | None:
    """Shape of each tensor of a model's state, by name; None where it cannot be built on meta."""
    try:
        with torch.device("meta"):
            built = model_class(model)(**shapes.fill(model.arguments()))
        return {name: tuple(tensor.shape) for name, tensor in built.state_dict().items()}
    except Exception:  # it may need true numbers; the base's job builds it with them
        return None


def _difference(own: StateShapes, changed: StateShapes) -> str:
    """The first tensor that differs."""
    name = next(name for name in [*own, *changed] if own.get(name) != changed.get(name))
    if name not in changed:
        return f"takes away {name}"
    if name not in own:
        return f"adds {name}"
    return f"changes the shape of {name} from {own[name]} to {changed[name]}"
