"""A config and a data file of stimulus as the text of an experiment of Shoal."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from shoal.errors import SettingsError
from shoal.explore.import_stimulus.columns import Columns, columns_of, task_of
from shoal.explore.import_stimulus.configs import choices, read_config, unknown_keys
from shoal.settings.section import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from shoal.explore.import_stimulus.configs import Arguments, Use


_RANDOM = ("RandomSplit", "RandomSplitter")
_DEFAULT = [0.7, 0.2, 0.1]
_FOLDS = {"0": "train", "1": "validation", "2": "test"}


class Imported(NamedTuple):
    """An experiment.

    Attributes:
        text: Content of its file.
        notes: Settings that could not be carried over, one line each.
    """

    text: str
    notes: list[str]


def imported(config: Path, data: Path, name: str) -> Imported:
    """The experiment that a config and a data file of stimulus describe.

    Args:
        config: A YAML or an older JSON file.
        data: The file with the rows.
        name: The experiment's name.

    Raises:
        SourceError: A file is missing or not readable, or there is no label.
        SettingsError: A key or value of the config is wrong, or does not fit the data.
    """
    read = read_config(config)
    try:
        chosen = choices(read)
        columns = columns_of(data, chosen.columns)
        task = task_of(columns)
        transform = transform_settings(chosen.transforms, columns)
        method, split = split_settings(chosen.splits, columns)
    except SettingsError as error:
        named = str(error).startswith((str(config), str(data)))
        raise error if named else SettingsError(f"{config}: {error}") from None
    content = {
        "defaults": [{"override /split": method}] if method else None,
        "name": name,
        "seed": chosen.seed,
        "sources": _sources(columns, task),
        "split": split,
        "transform": transform,
        "encode": _encode(columns),
    }
    lost = [f"{key}: Shoal has no such setting" for key in unknown_keys(read)]
    notes = list(dict.fromkeys([*lost, *chosen.notes, *columns.notes]))
    return Imported(_text(config, content, notes), notes)


def _sources(columns: Columns, task: str) -> Arguments:
    """All columns that the header or the config names; others only where one must be inferred."""
    kinds = {"label": "label", "meta": "ignore", "split": "ignore"}
    declared = {
        name: kinds.get(columns.roles[name]) or columns.kinds.get(name)
        for name in columns.names
        if name in columns.roles
    }
    infer = None in declared.values()
    if infer:
        declared |= {name: "ignore" for name in columns.names if name not in declared}
    return {
        "folder": str(columns.path.parent),
        "files": [columns.path.name],
        "task": task,
        "columns": {name: kind for name, kind in declared.items() if kind},
        "undeclared": "infer" if infer else "ignore",
    }


def _encode(columns: Columns) -> Arguments:
    if not columns.encoders:
        return {}
    specs = {
        name: found[0] if len(found) == 1 else {"cross": found}
        for name, found in columns.encoders.items()
    }
    return {"columns": specs}


def _text(config: Path, content: Arguments, notes: list[str]) -> str:
    import yaml

    head = ["# @package _global_", f"# From {config.name} of stimulus."]
    if notes:
        head += ["# Not carried over, or not as it was:", *(f"# - {note}" for note in notes)]
    settings = {name: value for name, value in content.items() if value not in (None, {})}
    plain = json.loads(json.dumps(settings))  # one mapping in two places would be an alias
    body = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)
    return "\n".join([*(" ".join(line.split()) for line in head), "", body])


def split_settings(choices: Sequence[Use], columns: Columns) -> tuple[str, Arguments]:
    """The choice of split, and its settings; an empty choice where Shoal's default stands.

    Args:
        choices: Each way to split that the config asks for.
        columns: The columns; takes notes.

    Raises:
        SettingsError: Shares are not two or three numbers that sum to one.
        SourceError: A split column holds other values than 0, 1 and 2, or not all of them.
    """
    named = columns.with_role("split")
    if not choices and named:
        return "column", _by_column(named[0], columns)
    for name in named:
        columns.notes.append(f"column {name!r}: it names folds, but the config splits anew")
    points: list[Arguments] = []
    for use in choices:
        point = _random(use, columns.notes)
        if point is not None and point not in points:
            points.append(point)
    if not points:
        if choices:
            columns.notes.append("split: none is left, so Shoal's default splits")
        return "", {}
    return "random", points[0] if len(points) == 1 else {"cross": points}


def _random(use: Use, notes: list[str]) -> Arguments | None:
    if use.name not in _RANDOM:
        notes.append(f"split {use.name}: Shoal has no splitter like it")
        return None
    params = dict(use.params)
    settings: Arguments = {"fractions": _fractions(params.pop("split", _DEFAULT), use, notes)}
    if "seed" in params:
        settings["seed"] = params.pop("seed")
    notes += [f"split {use.name}: {key}={value!r}" for key, value in params.items()]
    return settings


def _fractions(shares: Any, use: Use, notes: list[str]) -> dict[str, float]:  # noqa: ANN401 - any argument
    """Shares of the three folds; of two, the second is halved into validation and test."""
    place = f"split {use.name}: split: {shares!r}"
    is_list = isinstance(shares, list) and len(shares) in (2, 3)
    if not is_list or not all(isinstance(each, int | float) for each in shares):
        raise SettingsError(f"{place} is not the shares of train, validation and test")
    if abs(sum(shares) - 1) > 1e-9:
        raise SettingsError(f"{place}: the shares sum to {sum(shares):g}, not 1")
    present = [float(each) for each in shares if each]
    if len(present) == 2 and shares[0]:
        half = present[1] / 2
        notes.append(f"split {use.name}: {shares!r} has two folds; validation and test share one")
        present = [present[0], half, half]
    if len(present) != 3:
        raise SettingsError(f"{place}: there are always three folds, none of them empty")
    return dict(zip(_FOLDS.values(), present, strict=True))


def _by_column(name: str, columns: Columns) -> Arguments:
    found = {value.removesuffix(".0") for value in columns.values(name)}
    strange = sorted(found - set(_FOLDS))
    if strange:
        raise SettingsError(
            f"{columns.path}: column {name!r} holds {strange[0]!r}; folds are 0 (train), "
            f"1 (validation) and 2 (test)"
        )
    columns.notes += [
        f"column {name!r}: no row is {fold} ({value}); a run needs rows in every fold"
        for value, fold in _FOLDS.items()
        if value not in found
    ]
    return {"column": name, "values": _FOLDS}


def transform_settings(choices: Sequence[Sequence[Use]], columns: Columns) -> Arguments:
    """Settings of ``transform`` for the choices; nothing where none transforms.

    Args:
        choices: Each choice of transforms.
        columns: The columns; takes notes.

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


def _steps(choice: Sequence[Use], columns: Columns) -> list[Arguments]:
    return [step for use in choice if (step := _step(use, columns)) is not None]


def _step(use: Use, columns: Columns) -> Arguments | None:
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


def _noise(params: Arguments, notes: list[str]) -> Arguments | None:  # noqa: ARG001 - the same for all
    if params.get("mean", 0) == 0:
        params.pop("mean", None)
    sd = params.pop("std", 1.0)
    return None if sd == 0 else {"sd": sd}


def _mask(params: Arguments, notes: list[str]) -> Arguments | None:  # noqa: ARG001 - the same for all
    share = params.pop("probability", 0.1)
    character = {"character": params.pop("mask")} if "mask" in params else {}
    return None if share == 0 else {"share": share} | character


def _reverse_complement(params: Arguments, notes: list[str]) -> Arguments | None:
    if params.get("sequence_type") == "DNA":
        params.pop("sequence_type")
    notes.append("stimulus adds turned rows to the others; in Shoal half of the rows are turned")
    return {"share": 0.5}


def _chunk(params: Arguments, notes: list[str]) -> Arguments | None:
    if "chunk_size" not in params:
        notes.append("it has no chunk_size")
        return None
    notes.append("chunks start anywhere alike, in all folds; not around the middle")
    return {"length": params.pop("chunk_size"), "place": "random"}


def _balance(params: Arguments, notes: list[str]) -> Arguments | None:  # noqa: ARG001 - the same for all
    return {"ratio": 1}


_STEPS: dict[str, tuple[str, Callable[[Arguments, list[str]], Arguments | None]]] = {
    "GaussianNoise": ("noise", _noise),
    "UniformTextMasker": ("mask", _mask),
    "ReverseComplement": ("reverse_complement", _reverse_complement),
    "GaussianChunk": ("chunk", _chunk),
    "BalanceSampler": ("balance", _balance),
}
"""Class of stimulus to step, and its arguments to options; those left over are reported."""


def _together(points: list[list[Arguments]]) -> list[Arguments] | None:
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
