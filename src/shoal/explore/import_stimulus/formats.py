"""The two formats of stimulus' configs, as they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from shoal.errors import SettingsError, SourceError
from shoal.formats.json_file import read_json
from shoal.formats.yaml_file import MOST_BYTES, read_yaml
from shoal.settings.section import Section, Seed, parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LEGACY_KEYS = {"experiment", "interpret_params_mode", "transform", "noise", "custom"}


def _listed(value: Any) -> Any:  # noqa: ANN401 - any value of a file
    """Nothing is an empty list, one entry a list of one: stimulus writes both."""
    if value is None:
        return []
    return [value] if isinstance(value, dict) else value


class _Entry(Section):
    """A mapping of a config; keys that nobody asks for are reported, not refused."""

    model_config = ConfigDict(extra="allow")


class Named(_Entry):
    """A class of stimulus and its arguments."""

    name: str
    params: dict[str, Any] | None = None


class Column(_Entry):
    """What a column is for, and its encoders."""

    column_name: str
    column_type: str
    data_type: str | None = None
    encoder: Annotated[list[Named], BeforeValidator(_listed)] = Field(default=[])


class ColumnTransforms(_Entry):
    """What is done to a column."""

    column_name: str
    transformations: list[Named]


class TransformSet(_Entry):
    """Transforms that are applied together; lists of arguments advance together."""

    transformation_name: str
    columns: list[ColumnTransforms]


class SplitEntry(_Entry):
    """One way to split."""

    split_method: str
    params: dict[str, Any] | None = None
    split_input_columns: list[str] | None = None


class GlobalParams(_Entry):
    """What holds for everything."""

    seed: Seed | None = None


class Current(_Entry):
    """A YAML config."""

    global_params: GlobalParams | None = None
    columns: list[Column] = Field(default=[])
    transforms: Annotated[list[TransformSet], BeforeValidator(_listed)] = Field(default=[])
    split: Annotated[list[SplitEntry], BeforeValidator(_listed)] = Field(default=[])


class LegacyTransform(_Entry):
    """Transforms of a column, of which each is tried; arguments are lists of values."""

    column_name: str
    name: str | list[str]
    params: str | dict[str, Any] | list[Any] = "default"


class LegacySplit(_Entry):
    """A way to split; arguments are lists of values."""

    name: str
    params: str | dict[str, Any] | list[Any] = "default"


class LegacyCustom(_Entry):
    """One combination as it stands."""

    transform: Annotated[list[LegacyTransform], BeforeValidator(_listed)] = Field(default=[])
    noise: Annotated[list[LegacyTransform], BeforeValidator(_listed)] = Field(default=[])
    split: Annotated[list[LegacySplit], BeforeValidator(_listed)] = Field(default=[])


class Legacy(LegacyCustom):
    """An older JSON config."""

    experiment: str
    interpret_params_mode: Literal["column_wise", "all_combinations"] = "column_wise"
    custom: Annotated[list[LegacyCustom], BeforeValidator(_listed)] = Field(default=[])


def read_config(path: Path) -> Current | Legacy:
    """The config in a file, which its keys tell to be of the one format or the other.

    Raises:
        SourceError: There is no such file.
        CorruptError: It is no JSON, if its name says so.
        SettingsError: It is no YAML, a key is missing, or a value is of a wrong type.
    """
    if not path.is_file():
        raise SourceError(f"{path}: no such file")
    content = read_json(path, Any, limit=MOST_BYTES) if path.suffix == ".json" else read_yaml(path)
    if not isinstance(content, dict) or not content:
        raise SettingsError(f"{path}: holds no settings; a config of stimulus is a mapping")
    kind = Legacy if _LEGACY_KEYS & set(content) else Current
    try:
        config: Current | Legacy = parse(kind, content, "")
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None
    return config


def unknown_keys(entry: BaseModel, place: str = "") -> Iterator[str]:
    """Names of keys that mean nothing to Shoal, at any depth."""
    yield from (f"{place}{key}" for key in entry.model_extra or {})
    for name in type(entry).model_fields:
        value = getattr(entry, name)
        if isinstance(value, BaseModel):
            yield from unknown_keys(value, f"{place}{name}.")
        elif isinstance(value, list):
            for number, each in enumerate(value):
                if isinstance(each, BaseModel):
                    yield from unknown_keys(each, f"{place}{name}.{number}.")
