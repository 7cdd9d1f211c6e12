"""Where settings are looked up, and checks of their files before Hydra sees them.

Both entry points, the command line and the Snakefile, look in the project's folder ``config`` first
and in the package's own defaults then. A project may so hold no more than one experiment.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from shoal.errors import SettingsError
from shoal.formats.yaml_file import read_yaml
from shoal.settings.references import check_references

if TYPE_CHECKING:
    from collections.abc import Iterator

STAGES = ("split", "transform", "encode", "embed", "cluster", "model")
"""Sections whose choice and settings may be lists."""

BUDGET = ("rows_seen", "epochs", "flops", "patience", "base_share")
"""Settings of ``train_specialists`` that may be lists."""

VARYING = (*STAGES, "train_specialists")
"""Sections that variants may differ in."""

HYDRA = "hydra"
NOT_HYDRA = "settings of Hydra itself are not taken"
EXPERIMENT = "experiment"

DEFAULTS = Path(__file__).parents[1] / "config"
"""The package's own groups and experiments: in a checkout a link to its ``config``."""

SNAKEFILE = DEFAULTS.resolve().with_name("Snakefile")
"""The workflow that projects without a Snakefile of their own run."""


def project_config(snakefile_folder: Path | None = None) -> Path:
    """The project's folder of settings: that of the current folder, else beside the Snakefile.

    Args:
        snakefile_folder: The folder of the Snakefile, where there is one.
    """
    here = Path("config")
    return here if snakefile_folder is None or here.is_dir() else snakefile_folder / here


def search_path(config: Path) -> list[Path]:
    """Folders in which settings are looked up; a file in an earlier one hides its namesakes.

    Args:
        config: The project's folder, as :func:`project_config` finds it.
    """
    folders = {folder.resolve(): folder for folder in (config, DEFAULTS) if folder.is_dir()}
    return list(folders.values())


def found_files(config: Path) -> dict[PurePath, Path]:
    """Every file of settings by its place in the folder that has it, such as ``embed/pca.yaml``."""
    found: dict[PurePath, Path] = {}
    for root in search_path(config):
        for folder, _, names in os.walk(root, followlinks=True):
            paths = (Path(folder, name) for name in sorted(names) if name.endswith(".yaml"))
            found = {path.relative_to(root): path for path in paths} | found
    return found


def choices(config: Path, group: str) -> dict[str, Path]:
    """Files of a group by their names, in order; ``experiment`` is a group too."""
    found = found_files(config).items()
    return dict(sorted((place.stem, path) for place, path in found if place.parent.name == group))


def check_files(config: Path, experiment: str) -> None:
    """Read every file that may take part: all groups, the experiment, and those that it names.

    Args:
        config: The project's folder of settings.
        experiment: Name of a file in its folder ``experiment``.

    Raises:
        SettingsError: A file is no plain YAML, or refers to what is no setting.
    """
    files = found_files(config)
    for place in sorted(files):
        if place.parts[0] != EXPERIMENT:
            checked(files[place])
    groups = {place.parts[0] for place in files if len(place.parts) > 1}
    known = choices(config, EXPERIMENT)
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
