"""The two formats of stimulus' configs, and the choices that they span."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from shoal.errors import SettingsError, SourceError
from shoal.formats.json_file import read_json
from shoal.formats.yaml_file import MOST_BYTES, read_yaml
from shoal.settings.section import Section, Seed, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

Arguments = dict[str, Any]
"""Arguments of a class, by name."""

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
    params: Arguments | None = None


class Column(_Entry):
    """Role and encoders of a column."""

    column_name: str
    column_type: str
    data_type: str | None = None
    encoder: Annotated[list[Named], BeforeValidator(_listed)] = Field(default=[])


class ColumnTransforms(_Entry):
    """Transforms of a column."""

    column_name: str
    transformations: list[Named]


class TransformSet(_Entry):
    """Transforms that are applied together; lists of arguments advance together."""

    transformation_name: str
    columns: list[ColumnTransforms]


class SplitEntry(_Entry):
    """One way to split."""

    split_method: str
    params: Arguments | None = None
    split_input_columns: list[str] | None = None


class GlobalParams(_Entry):
    """Parameters of the whole config."""

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
    params: str | Arguments | list[Any] = "default"


class LegacySplit(_Entry):
    """A way to split; arguments are lists of values."""

    name: str
    params: str | Arguments | list[Any] = "default"


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


@dataclass(frozen=True)
class Use:
    """A class of stimulus with its arguments, each one value.

    Attributes:
        name: The class.
        params: Its arguments.
        column: The column that a transform works on.
    """

    name: str
    params: Arguments
    column: str = ""


@dataclass
class Choices:
    """The choices that a config spans.

    Attributes:
        transforms: Each choice of transforms, in their order.
        splits: Each choice of a split.
        columns: Its columns; none in the older format.
        seed: The seed of everything, if it gives one.
        notes: Settings that cannot be carried over, in words.
    """

    transforms: list[list[Use]]
    splits: list[Use]
    columns: list[Column] = field(default_factory=list)
    seed: int | None = None
    notes: list[str] = field(default_factory=list)


def choices(config: Current | Legacy) -> Choices:
    """Every choice of transforms and of splits that a config spans.

    Raises:
        SettingsError: Lists of values that advance together differ in length, or one is empty.
    """
    return _current(config) if isinstance(config, Current) else _legacy(config)


def _current(config: Current) -> Choices:
    transforms: list[list[Use]] = []
    for number, group in enumerate(config.transforms):
        uses = [
            Use(each.name, each.params or {}, column.column_name)
            for column in group.columns
            for each in column.transformations
        ]
        place = f"transforms.{number} ({group.transformation_name})"
        transforms += _together(uses, place)
    splits = [use for entry in config.split for use in _splits(entry)]
    seed = config.global_params.seed if config.global_params else None
    return Choices(transforms, splits, config.columns, seed)


def _splits(entry: SplitEntry) -> list[Use]:
    """An entry's ways to split: shares are a list themselves, several ways a list of lists."""
    params = {
        name: value if _is_nested(value) else [value]
        for name, value in (entry.params or {}).items()
    }
    points = _together([Use(entry.split_method, params)], f"split ({entry.split_method})")
    return [use for (use,) in points]


def _is_nested(value: Any) -> bool:  # noqa: ANN401 - any argument
    return isinstance(value, list) and bool(value) and all(isinstance(v, list) for v in value)


def _legacy(config: Legacy) -> Choices:
    crossed = config.interpret_params_mode == "all_combinations"
    entries = [*config.transform, *config.noise]
    transforms: list[list[Use]] = []
    for combination in itertools.product(*(_options(entry) for entry in entries)):
        if combination:
            transforms += _spread(combination, "transform", crossed=crossed)
    splits: list[Use] = []
    for entry in config.split:
        for use in _options(entry):
            splits += [each for (each,) in _spread([use], "split", crossed=crossed)]
    notes = [
        f"experiment: {config.experiment!r} names a class of stimulus that knows the encoders; "
        "columns are encoded as the types in their header say",
        "stimulus also runs the data untouched and with shuffled labels: add what you want of that",
    ]
    found = Choices(transforms, splits, notes=notes)
    _add_custom(found, config.custom)
    return found


def _add_custom(found: Choices, custom: Sequence[LegacyCustom]) -> None:
    """Combinations as they stand; a stage has a grid of its own in Shoal, so they are crossed."""
    if not custom:
        return
    default = Use("RandomSplitter", {})
    pairs = [
        (transform, split)
        for transform in found.transforms or [[]]
        for split in found.splits or [default]
        if found.transforms or found.splits
    ]
    for entry in custom:
        uses = [use for each in (*entry.transform, *entry.noise) for use in _options(each)]
        splits = [use for each in entry.split for use in _options(each)]
        pairs.append((uses, splits[0] if splits else default))
    found.transforms = _distinct([transform for transform, _ in pairs])
    found.splits = _distinct([split for _, split in pairs])
    count, asked = len(found.transforms) * len(found.splits), len(_distinct(pairs))
    if count > asked:
        found.notes.append(
            f"custom: {asked} combinations become {count}, as every choice of transforms meets "
            f"every split in Shoal"
        )


def _options(entry: LegacyTransform | LegacySplit) -> list[Use]:
    """The classes that an entry names, with their arguments as they stand."""
    names = [entry.name] if isinstance(entry.name, str) else entry.name
    column = entry.column_name if isinstance(entry, LegacyTransform) else ""
    place = f"{column or 'split'} ({', '.join(names)})"
    given = entry.params if isinstance(entry.params, list) else [entry.params] * len(names)
    if isinstance(entry, LegacySplit):  # several sets of arguments are further choices
        names = names * len(given)
    if len(given) != len(names):
        raise SettingsError(f"{place}: params: {len(given)} entries for {len(names)} names")
    uses = []
    for name, params in zip(names, given, strict=True):
        if params != "default" and not isinstance(params, dict):
            raise SettingsError(f"{place}: params: a mapping or 'default', not {params!r}")
        uses.append(Use(name, {} if params == "default" else params, column))
    return uses


def _spread(uses: Sequence[Use], place: str, *, crossed: bool) -> list[list[Use]]:
    """Points of lists of values: all combinations, or all first ones, all second ones."""
    uses = [Use(each.name, _values(each.params), each.column) for each in uses]
    for use in uses:
        for name, values in use.params.items():
            if not values:
                raise SettingsError(f"{place}: {use.name}: {name}: an empty list of values")
    if not crossed:
        return _together(uses, place)
    lists = [values for use in uses for values in use.params.values()]
    points = []
    for combination in itertools.product(*lists):
        values = iter(combination)
        points.append(
            [Use(use.name, {key: next(values) for key in use.params}, use.column) for use in uses]
        )
    return points


def _values(params: Arguments) -> dict[str, list[Any]]:
    """The values of each argument: a config of one run has one of each, of shares a plain list."""
    return {
        name: value
        if (_is_nested(value) if name == "split" else isinstance(value, list))
        else [value]
        for name, value in params.items()
    }


def _together(uses: Sequence[Use], place: str) -> list[list[Use]]:
    """Points of lists that advance together; a list of one value, or a value, stays as it is."""
    lengths = {
        f"{use.column} {use.name} {name}".strip(): len(value)
        for use in uses
        for name, value in use.params.items()
        if isinstance(value, list)
    }
    for name, length in lengths.items():
        if not length:
            raise SettingsError(f"{place}: {name}: an empty list of values")
    longer = {length for length in lengths.values() if length > 1}
    if len(longer) > 1:
        named = ", ".join(f"{name} ({length})" for name, length in lengths.items())
        raise SettingsError(f"{place}: lists that advance together differ in length: {named}")
    count = max(longer, default=1)

    def at(value: Any, number: int) -> Any:  # noqa: ANN401 - any argument
        return value[number if len(value) > 1 else 0] if isinstance(value, list) else value

    return [
        [
            Use(use.name, {k: at(v, number) for k, v in use.params.items()}, use.column)
            for use in uses
        ]
        for number in range(count)
    ]


def _distinct(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found
