"""A config and a data file of stimulus as the text of an experiment of Shoal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from shoal.errors import SettingsError
from shoal.explore.import_stimulus.choices import choices
from shoal.explore.import_stimulus.columns import Columns, columns_of, task_of
from shoal.explore.import_stimulus.formats import read_config, unknown_keys
from shoal.explore.import_stimulus.splits import split_settings
from shoal.explore.import_stimulus.transforms import transform_settings

if TYPE_CHECKING:
    from pathlib import Path


class Imported(NamedTuple):
    """An experiment.

    Attributes:
        text: What the file holds.
        notes: What could not be carried over, a line each.
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


def _sources(columns: Columns, task: str) -> dict[str, Any]:
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


def _encode(columns: Columns) -> dict[str, Any]:
    if not columns.encoders:
        return {}
    specs = {
        name: found[0] if len(found) == 1 else {"cross": found}
        for name, found in columns.encoders.items()
    }
    return {"columns": specs}


def _text(config: Path, content: dict[str, Any], notes: list[str]) -> str:
    import yaml

    head = ["# @package _global_", f"# From {config.name} of stimulus."]
    if notes:
        head += ["# Not carried over, or not as it was:", *(f"# - {note}" for note in notes)]
    settings = {name: value for name, value in content.items() if value not in (None, {})}
    plain = json.loads(json.dumps(settings))  # one mapping in two places would be an alias
    body = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)
    return "\n".join([*(" ".join(line.split()) for line in head), "", body])
