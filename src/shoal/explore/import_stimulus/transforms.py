"""Transforms of stimulus as steps of Shoal."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from shoal.settings.section import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shoal.explore.import_stimulus.choices import Use
    from shoal.explore.import_stimulus.columns import Columns

Step = dict[str, Any]
Options = dict[str, Any]


def transform_settings(choices: Sequence[Sequence[Use]], columns: Columns) -> dict[str, Any]:
    """Settings of ``transform`` for the choices; nothing where none transforms.

    Args:
        choices: Each choice of transforms.
        columns: The columns; takes notes of what cannot be carried over.

    Raises:
        SettingsError: There is no such column, or an argument is of a wrong type.
    """
    points = [_steps(choice, columns) for choice in choices]
    distinct = [each for number, each in enumerate(points) if each not in points[:number]]
    if len(distinct) < len(points):
        columns.notes.append(
            f"transforms: of {len(points)} choices {len(distinct)} are left that differ"
        )
    if not distinct or distinct == [[]]:
        return {}
    # Not {"cross": …}: Hydra would merge that with the default, which is a list.
    return {"steps": _together(distinct) or distinct}


def _steps(choice: Sequence[Use], columns: Columns) -> list[Step]:
    return [step for use in choice if (step := _step(use, columns)) is not None]


def _step(use: Use, columns: Columns) -> Step | None:
    """One step, None where there is no equal or where it would do nothing."""
    from shoal.transform.pipeline import STEPS

    column = columns.named(use.column)
    place = f"transform {use.name} of column {column!r}"
    if use.name not in _STEPS:
        columns.notes.append(f"{place}: Shoal has no step like it")
        return None
    name, translate = _STEPS[use.name]
    params = dict(use.params)
    if params.pop("seed", None) is not None:
        columns.notes.append(f"{place}: its seed; steps draw from transform.seed, each by itself")
    notes: list[str] = []
    options = translate(params, notes)
    columns.notes += [f"{place}: {note}" for note in notes]
    columns.notes += [f"{place}: {key}={value!r}" for key, value in params.items()]
    if options is None:
        return None
    kind, step = columns.kind(column), STEPS.get(name)
    if step is None:
        columns.notes.append(f"{place}: this version of Shoal has no step {name!r}")
        return None
    if kind not in (None, *step.works_on):
        accepted = ", ".join(step.works_on)
        columns.notes.append(f"{place}: the column is {kind}; step {name!r} works on {accepted}")
        return None
    parse(step.Options, options, place)
    return {"step": name, "columns": [column]} | ({"options": options} if options else {})


def _noise(params: Options, notes: list[str]) -> Options | None:  # noqa: ARG001 - the same for all
    if params.get("mean", 0) == 0:
        params.pop("mean", None)
    sd = params.pop("std", 1.0)
    return None if sd == 0 else {"sd": sd}


def _mask(params: Options, notes: list[str]) -> Options | None:  # noqa: ARG001 - the same for all
    share = params.pop("probability", 0.1)
    character = {"character": params.pop("mask")} if "mask" in params else {}
    return None if share == 0 else {"share": share} | character


def _reverse_complement(params: Options, notes: list[str]) -> Options | None:
    if params.get("sequence_type") == "DNA":
        params.pop("sequence_type")
    notes.append("stimulus adds turned rows to the others; in Shoal half of the rows are turned")
    return {"share": 0.5}


def _chunk(params: Options, notes: list[str]) -> Options | None:
    if "chunk_size" not in params:
        notes.append("it has no chunk_size")
        return None
    notes.append("chunks start anywhere alike, in all folds; not around the middle")
    return {"length": params.pop("chunk_size"), "place": "random"}


def _balance(params: Options, notes: list[str]) -> Options | None:  # noqa: ARG001 - the same for all
    return {"ratio": 1}


_STEPS: dict[str, tuple[str, Callable[[Options, list[str]], Options | None]]] = {
    "GaussianNoise": ("noise", _noise),
    "UniformTextMasker": ("mask", _mask),
    "ReverseComplement": ("reverse_complement", _reverse_complement),
    "GaussianChunk": ("chunk", _chunk),
    "BalanceSampler": ("balance", _balance),
}
"""Class of stimulus to step, and its arguments to options; those left over are reported."""


def _together(points: list[list[Step]]) -> list[Step] | None:
    """One list of steps with the values that differ in place; None where the steps differ."""
    shapes = [[(s["step"], s["columns"], list(s.get("options", {}))) for s in p] for p in points]
    if any(shape != shapes[0] for shape in shapes):
        return None
    columns: list[list[Any]] = [
        [point[number]["options"][name] for point in points]
        for number, step in enumerate(points[0])
        for name in step.get("options", {})
    ]
    distinct = [list(dict.fromkeys(column)) for column in columns]
    crossed = list(itertools.product(*distinct)) == list(zip(*columns, strict=True))
    written = iter(
        different[0]
        if len(different) == 1
        else {"cross": different}
        if crossed
        else {"zip": column}
        for column, different in zip(columns, distinct, strict=True)
    )
    return [
        step
        | ({"options": {k: next(written) for k in step["options"]}} if "options" in step else {})
        for step in points[0]
    ]
