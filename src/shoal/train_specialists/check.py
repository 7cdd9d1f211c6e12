"""The user's model before the first job: imported, given its arguments, built at grid values."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from shoal.errors import ModelError, SettingsError
from shoal.formats.shapes import Shapes
from shoal.search.points import model_at
from shoal.settings.targets import is_installed
from shoal.settings.user_code import check_arguments
from shoal.training.model import build_model, model_class

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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
    tokens=257,
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
        ModelError: The class does not import, is no module, does not take its arguments, reads a
            file that ``model.files`` does not name, or cannot be built or used where shapes are
            known.
        SettingsError: A grid value changes the shape of parameters.
    """
    with _files_read() as read:
        _check_builds(model, grid, seed, known)
    declared = {Path(name).resolve() for name in model.files}
    missing = [str(path.relative_to(Path.cwd())) for path in read if path not in declared]
    if missing:
        files = ",".join([*model.files, *missing])
        raise ModelError(
            f"model {model.target}: reads {missing[0]}, and nothing would notice another content; "
            f"declare it: model.files=[{files}]"
        )


def _check_builds(
    model: Model, grid: Mapping[str, Sequence[Any]], seed: int, known: Sequence[Shapes]
) -> None:
    facts = known[0] if known else _MADE_UP
    arguments = facts.fill(model.arguments())
    check_arguments(model_class(model), f"model {model.target}", **arguments)
    for shapes in known:
        build_model(model, shapes, seed)
    varied = {name: values for name, values in grid.items() if name.startswith("model.")}
    own = _state_shapes(model, facts) if varied or not known else None
    for name, values in varied.items():
        for value in values:
            changed = _state_shapes(model_at(model, {name: value}), facts)
            if own is not None and changed is not None and own != changed:
                raise SettingsError(
                    f"grid.{name}: {value!r} {_difference(own, changed)}; all points start from "
                    f"one base, so a grid may not change the shape of parameters: a list of values "
                    f"of {name} itself makes variants, each with a base of its own"
                )


@contextmanager
def _files_read() -> Iterator[list[Path]]:
    """Data files in the current folder that are opened for reading in the block.

    Code, hidden folders and what is installed do not count. Files that are not opened through
    Python, as safetensors' ``safe_open`` does, are not seen.
    """
    found: list[Path] = []
    here, is_active = Path.cwd(), True

    def hook(event: str, values: tuple[Any, ...]) -> None:
        if not is_active or event != "open" or not isinstance(values[0], str | bytes | os.PathLike):
            return
        path = Path(os.fsdecode(values[0])).resolve()
        if values[2] & os.O_ACCMODE != os.O_RDONLY or not path.is_relative_to(here):
            return
        inner = path.relative_to(here)
        is_code = path.suffix in (".py", ".pyc", ".so") or is_installed(path)
        is_hidden = any(part.startswith((".", "__pycache__")) for part in inner.parts)
        if not is_code and not is_hidden and path not in found and path.is_file():
            found.append(path)

    sys.addaudithook(hook)  # a hook stays until the process ends
    try:
        yield found
    finally:
        is_active = False


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
