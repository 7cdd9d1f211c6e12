"""Composition of an experiment's settings from ``config/`` by Hydra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.errors import SettingsError, nearest
from shoal.settings import Settings, parse
from shoal.settings.search import is_range

if TYPE_CHECKING:
    from pathlib import Path

    from omegaconf import DictConfig


def compose(config: Path, experiment: str, overrides: list[str]) -> Settings:
    """Settings of an experiment that has no variants.

    A group's choice among the overrides, such as ``embed=pca``, takes that file as it is: what
    the experiment changed in its own choice would not fit another.

    Args:
        config: The folder of Hydra config groups.
        experiment: Name of a file in ``config/experiment``.
        overrides: Changes in Hydra's syntax, such as ``cluster.partitions=12``.

    Raises:
        SettingsError: An experiment, group choice or setting is unknown or has a wrong value.
    """
    settings: Settings = parse(Settings, contents(config, experiment, overrides), "")
    return settings


def contents(config: Path, experiment: str, overrides: list[str]) -> dict[str, Any]:
    """What :func:`compose` reads, as plain values that are not looked at yet.

    Raises:
        SettingsError: An experiment or group choice is unknown, or the settings do not compose.
    """
    return resolved(composed(config, experiment, overrides))


def composed(config: Path, experiment: str, overrides: list[str]) -> DictConfig:
    """Settings in which references to others, such as ``${seed}``, still stand.

    Raises:
        SettingsError: An experiment or group choice is unknown, or the settings do not compose.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    choices = sorted(path.stem for path in (config / "experiment").glob("*.yaml"))
    if experiment not in choices:
        raise SettingsError(f"experiment {experiment!r} is unknown; {nearest(experiment, choices)}")
    changes = [change for override in overrides for change in _forced(config, override)]
    try:
        with hydra.initialize_config_dir(str(config.resolve()), version_base="1.3"):
            whole = hydra.compose("config", [f"experiment={experiment}", *changes])
            chosen = [
                name for change in changes if (config / (name := change.split("=")[0])).is_dir()
            ]
            if chosen:
                plain = hydra.compose("config", ["~experiment", *changes])
                whole.merge_with(dict.fromkeys(chosen))
                whole.merge_with({name: plain[name] for name in chosen})
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingsError(f"settings do not compose: {_first_line(error)}") from None
    return whole


def resolved(whole: DictConfig, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any values
    """Plain values of composed settings, all references followed.

    Args:
        whole: What :func:`composed` returns.
        changes: Settings at the top, such as ``seed``, that are to have another value.

    Raises:
        SettingsError: A reference leads nowhere, or a value is missing.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    OmegaConf.register_new_resolver("data", "data:{}".format, replace=True)
    try:
        changed = OmegaConf.merge(whole, changes) if changes else whole
        content: Any = OmegaConf.to_container(changed, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise SettingsError(f"settings do not compose: {_first_line(error)}") from None
    content["grid"] = _flat(content.get("grid") or {})
    return dict(content)


def as_list(overrides: str | list[Any]) -> list[str]:
    """Overrides as Snakemake's ``--config`` delivers them.

    A flat list arrives as a list, one with brackets inside as a single string.
    """
    if not isinstance(overrides, str):
        return [str(override) for override in overrides]
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


def _forced(config: Path, override: str) -> list[str]:
    """An override that may add a key: unknown ones are then reported by the settings' own types."""
    name, equals, value = override.partition("=")
    if not equals:
        raise SettingsError(f"override {override!r}: expected NAME=VALUE")
    if name[0] in "+~":
        return [override]
    group = config / name
    if group.is_dir():
        if value.startswith("["):
            return [f"++{name}.cross={value}"]
        choices = sorted(path.stem for path in group.glob("*.yaml"))
        if value not in choices:
            raise SettingsError(f"{name}: {value!r} is unknown; {nearest(value, choices)}")
        return [override]
    # Hydra merges a range into what is there, and cannot where that is a list.
    before = [f"++{name}=null"] if name.startswith("grid.") and value.startswith("{") else []
    return [*before, f"++{override}"]


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split("\n")[0].split())


def _flat(grid: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested names joined by dots; a single value is a list of one, a range stays as it is."""
    flat: dict[str, Any] = {}
    for name, value in grid.items():
        if is_range(value):
            flat[prefix + name] = value
        elif isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value if isinstance(value, list) else [value]
    return flat
