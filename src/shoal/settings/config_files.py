"""The files of ``config/`` are read and checked before Hydra sees them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.errors import SettingsError
from shoal.formats.yaml_file import read_yaml
from shoal.settings.references import check_references

if TYPE_CHECKING:
    from collections.abc import Iterator

STAGES = ("split", "transform", "encode", "embed", "cluster")
"""Stages whose settings may be lists."""

HYDRA = "hydra"
NOT_HYDRA = "settings of Hydra itself are not taken"
_EXPERIMENT = "experiment"


def check_files(config: Path, experiment: str) -> None:
    """Read every file that may take part: all groups, the experiment, and those that it names.

    Args:
        config: The folder of config groups.
        experiment: Name of a file in its folder ``experiment``.

    Raises:
        SettingsError: A file is no plain YAML, or refers to what is no setting.
    """
    for path in _group_files(config):
        checked(path)
    groups = {path.name for path in config.iterdir() if path.is_dir()}
    known = {path.stem: path for path in (config / _EXPERIMENT).glob("*.yaml")}
    waiting, seen = [experiment], {experiment}
    while waiting:
        path = known[waiting.pop()]
        content = checked(path)
        for name in (name for name in groups if isinstance(content.get(name), list)):
            several = f"several choices are written {name}: {{cross: {content[name]}}}"
            reason = several if name in STAGES else one_choice(name)
            raise SettingsError(f"{_shown(path)}: {reason}")
        named = {Path(text).name for text in _texts(content.get("defaults"))}
        waiting += sorted(known.keys() & (named - seen))
        seen |= named


def one_choice(section: str) -> str:
    """The error where a stage has several choices and can have one."""
    return (
        f"{section}: takes one choice, lists are for {', '.join(STAGES)} and seed; run each as an "
        f"experiment of its own, such as {section}=CHOICE with name=NAME-CHOICE"
    )


def _group_files(config: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(config, followlinks=True):
        if Path(folder) == config and _EXPERIMENT in folders:
            folders.remove(_EXPERIMENT)
        yield from (Path(folder, name) for name in sorted(files) if name.endswith(".yaml"))


def checked(path: Path) -> dict[Any, Any]:
    """Content of a file of settings.

    Raises:
        SettingsError: It is no plain YAML, or refers to what is no setting.
    """
    path = _shown(path)
    content = read_yaml(path)
    if HYDRA in content:
        raise SettingsError(f"{path}: {HYDRA}: {NOT_HYDRA}")
    try:
        check_references(content)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None
    for entry in _listed(content.get("defaults")):
        for group, choice in entry.items() if isinstance(entry, dict) else ():
            if isinstance(choice, list):
                name = str(group).removeprefix("override ").strip("/ ")
                raise SettingsError(
                    f"{path}: defaults: {name}: one choice, not {choice!r}; what tries several is "
                    f"a setting below, such as embed: {{cross: [pca, scarf]}}"
                )
    return content


def _shown(path: Path) -> Path:
    """The file itself, as seen from the current folder where it lies in there."""
    file, here = path.resolve(), Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file


def _texts(defaults: Any) -> Iterator[str]:  # noqa: ANN401 - any YAML value
    """Names of files in a list of defaults."""
    for entry in _listed(defaults):
        parts = entry.values() if isinstance(entry, dict) else [entry]
        yield from (part for part in parts if isinstance(part, str))


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 - any YAML value
    return value if isinstance(value, list) else []
