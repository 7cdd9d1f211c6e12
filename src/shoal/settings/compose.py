"""Composition of an experiment's settings by Hydra, from the project's files and the package's."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from shoal.errors import SettingsError, nearest
from shoal.settings import Settings, parse
from shoal.settings.config_files import (
    DEFAULTS,
    EXPERIMENT,
    HYDRA,
    NOT_HYDRA,
    STAGES,
    check_files,
    choices,
    found_files,
    one_choice,
    search_path,
)
from shoal.settings.references import followed
from shoal.settings.search import is_range

if TYPE_CHECKING:
    from pathlib import Path

    from hydra.core.config_search_path import ConfigSearchPath
    from omegaconf import DictConfig


def compose(config: Path, experiment: str, overrides: list[str]) -> Settings:
    """Settings of an experiment that has no variants.

    A group's choice among the overrides, such as ``embed=pca``, takes that file as it is: what
    the experiment changed in its own choice would not fit another.

    Args:
        config: The project's folder of settings; what it lacks is taken from the package.
        experiment: Name of a file in its folder ``experiment``.
        overrides: Changes in Hydra's syntax, such as ``cluster.partitions=12``.

    Raises:
        SettingsError: An experiment, group choice or setting is unknown or has a wrong value.
    """
    content = resolved(composed(config, experiment, overrides))
    settings: Settings = parse(Settings, content, "")
    return settings


def composed(config: Path, experiment: str, overrides: list[str]) -> DictConfig:
    """Settings in which references to others, such as ``${seed}``, still stand.

    Raises:
        SettingsError: An experiment or group choice is unknown, a file of settings is not readable,
            or the settings do not compose.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    known = choices(config, EXPERIMENT)
    if experiment not in known:
        raise SettingsError(f"experiment {experiment!r} is unknown; {nearest(experiment, known)}")
    check_files(config, experiment)
    groups = {place.parts[0] for place in found_files(config) if len(place.parts) > 1}
    changes = [change for override in overrides for change in _forced(config, groups, override)]
    _register_defaults()
    try:
        with hydra.initialize_config_dir(str(search_path(config)[0].resolve()), version_base="1.3"):
            whole = hydra.compose("config", [f"experiment={_quoted(experiment)}", *changes])
            chosen = [name for change in changes if (name := change.split("=")[0]) in groups]
            if chosen:
                plain = hydra.compose("config", ["~experiment", *changes])
                whole.merge_with(dict.fromkeys(chosen))
                whole.merge_with({name: plain[name] for name in chosen})
    except (HydraException, OmegaConfBaseException, ValueError, OSError, RecursionError) as error:
        raise SettingsError(f"settings do not compose: {_first_line(error)}") from None
    if "experiment" in whole:
        raise SettingsError(
            f"{known[experiment]}: does not begin with the line '# @package _global_'"
        )
    return whole


def resolved(whole: DictConfig, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any values
    """Plain values of composed settings, all references followed.

    Args:
        whole: What :func:`composed` returns.
        changes: Settings at the top, such as ``seed``, that are to have another value.

    Raises:
        SettingsError: A reference leads nowhere or is of another kind, or a value is missing.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        changed = OmegaConf.merge(whole, changes) if changes else whole
        content: Any = OmegaConf.to_container(changed, resolve=False, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise SettingsError(f"settings do not compose: {_first_line(error)}") from None
    settings = followed(content)
    grid = settings.get("grid") or {}
    if not isinstance(grid, dict):
        raise SettingsError(f"grid: a mapping of names to lists of values, not {grid!r}")
    return settings | {"grid": _flat(grid)}


def as_list(overrides: Any) -> list[str]:  # noqa: ANN401 - whatever Snakemake makes of a text
    """Overrides as Snakemake's ``--config`` delivers them.

    A flat list arrives as a list, one with brackets inside as a single string.

    Raises:
        SettingsError: They are neither.
    """
    if isinstance(overrides, list):
        return [str(override) for override in overrides]
    if not isinstance(overrides, str):
        raise SettingsError(f"overrides: a list such as [seed=1, embed=pca], not {overrides!r}")
    text = overrides.strip()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    parts, depth, start = [], 0, 0
    for place, character in enumerate(text):
        depth += (character in "[{(") - (character in "]})")
        if character == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [part.strip() for part in [*parts, text[start:]] if part.strip()]


@functools.cache
def _register_defaults() -> None:
    """Have Hydra look in the package's defaults for what the project's folder lacks."""
    from hydra.core.plugins import Plugins
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    class Defaults(SearchPathPlugin):
        def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
            search_path.append(provider="shoal", path=f"file://{DEFAULTS.resolve()}")

    Plugins.instance().register(Defaults)


def _forced(config: Path, groups: set[str], override: str) -> list[str]:
    """An override that may add a key: unknown ones are then reported by the settings' own types."""
    name, equals, value = override.partition("=")
    if not equals or not name:
        raise SettingsError(f"override {override!r}: expected NAME=VALUE")
    if name.lstrip("+~").split(".")[0] == HYDRA:
        raise SettingsError(f"override {override!r}: {NOT_HYDRA}")
    if name[0] in "+~":
        return [override]
    if name in groups:
        return _chosen(config, name, value)
    # Hydra merges a range into what is there, and cannot where that is a list.
    before = [f"++{name}=null"] if name.startswith("grid.") and value.startswith("{") else []
    return [*before, f"++{override}"]


def _chosen(config: Path, group: str, value: str) -> list[str]:
    """A choice of a group, or for a stage a list of them, each of which makes a variant."""
    if value.startswith("["):
        if group not in STAGES:
            raise SettingsError(one_choice(group))
        return [f"++{group}.cross={value}"]
    known = choices(config, group)
    if value not in known:
        raise SettingsError(f"{group}: {value!r} is unknown; {nearest(value, known)}")
    return [f"{group}={_quoted(value)}"]


def _quoted(choice: str) -> str:
    """A file's name as Hydra takes it for text, whatever it looks like: a number, ``null``."""
    escaped = choice.replace("'", "\\'")
    return f"'{escaped}'"


def _first_line(error: BaseException) -> str:
    """Of a message whose first line only announces the next one, both."""
    text, *more = [" ".join(line.split()) for line in str(error).splitlines()] or [""]
    if more and text.endswith(":"):
        text = f"{text} {more[0]}"
    return f"{text}: {_first_line(error.__cause__)}" if error.__cause__ else text


def _flat(grid: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested names joined by dots; a single value is a list of one, a range stays as it is."""
    flat: dict[str, Any] = {}
    for name, value in grid.items():
        if is_range(value):
            flat[f"{prefix}{name}"] = value
        elif isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value if isinstance(value, list | dict) else [value]
    return flat
