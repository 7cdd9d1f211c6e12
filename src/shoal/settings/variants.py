"""Variants: the points of the grid over how data is processed.

A setting of split, transform, encode, embed or cluster that takes no list may be one: its values
are tried one by one. ``{cross: […]}`` says the same of any setting, also of one that takes a list,
and of a whole stage, whose values are then names of choices or changed settings. The lists of a
stage that are written ``{zip: […]}`` advance together. ``seed`` may be a list too. All other lists
combine with each other.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from shoal.errors import SettingsError, nearest
from shoal.hashing import settings_id
from shoal.settings import Settings, parse
from shoal.settings.compose import composed, resolved

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from omegaconf import DictConfig

    from shoal.settings.section import Section

STAGES = ("split", "transform", "encode", "embed", "cluster")
"""Stages whose settings may be lists."""

_WAYS = ("cross", "zip")
CHOICE = "variant="


@dataclass(frozen=True)
class Variant:
    """One point of the grid.

    Attributes:
        changes: What tells it from the others: settings by name, in the order of the stages.
        settings: All of its settings.
    """

    changes: dict[str, Any]
    settings: Settings

    @cached_property
    def id(self) -> str:
        """A hash of how it processes data and of its seed, whatever else there is."""
        stages = [getattr(self.settings, stage).as_json() for stage in STAGES]
        return settings_id(self.settings.seed, *stages)


class _Dimension(NamedTuple):
    """A list of values for one setting of a stage."""

    path: tuple[str | int, ...]
    values: list[Any]
    way: str

    @property
    def name(self) -> str:
        return ".".join(str(part) for part in self.path)


class _Way(NamedTuple):
    """One of a stage's settings, and what tells it from the others."""

    changes: dict[str, Any]
    content: Any


def variants(config: Path, experiment: str, overrides: list[str]) -> list[Variant]:
    """Every variant of an experiment; one where no setting is a list.

    Args:
        config: The folder of Hydra config groups.
        experiment: Name of a file in ``config/experiment``.
        overrides: Changes in Hydra's syntax; ``variant=ID`` among them takes that variant alone.

    Raises:
        SettingsError: The settings do not compose, a value is wrong, a list is empty or holds a
            value twice, or lists that advance together have different lengths.
    """
    chosen = [each.removeprefix(CHOICE) for each in overrides if each.startswith(CHOICE)]
    found = _all(config, experiment, [each for each in overrides if not each.startswith(CHOICE)])
    if not chosen:
        return found
    known = {variant.id: variant for variant in found}
    for name in chosen:
        if name not in known:
            raise SettingsError(f"variant {name!r} is unknown; {nearest(name, known)}")
    return [known[name] for name in dict.fromkeys(chosen)]


def only_variant(config: Path, experiment: str, overrides: list[str]) -> Variant:
    """The variant of an experiment that has one.

    Raises:
        SettingsError: It has several, or see :func:`variants`.
    """
    found = variants(config, experiment, overrides)
    if len(found) > 1:
        raise SettingsError(
            f"experiment {experiment!r} has {len(found)} variants; `shoal variants {experiment}` "
            f"lists them, {CHOICE}ID among the overrides takes one"
        )
    return found[0]


def _all(config: Path, experiment: str, overrides: list[str]) -> list[Variant]:
    @cache
    def chosen(stage: str, name: str) -> DictConfig:
        others = [each for each in overrides if not each.startswith(f"{stage}=")]
        return composed(config, experiment, [*others, f"{stage}={name}"])

    found: dict[str, Variant] = {}
    for seed, content in _seeded(composed(config, experiment, overrides)):

        def choice(stage: str, name: str, seed: Mapping[str, Any] = seed) -> Any:  # noqa: ANN401
            return resolved(chosen(stage, name), **seed)[stage]

        ways = [_ways_of(stage, content[stage], choice) for stage in STAGES]
        for combination in itertools.product(*ways):
            stages = {s: way.content for s, way in zip(STAGES, combination, strict=True)}
            changes = {name: value for way in combination for name, value in way.changes.items()}
            variant = Variant(seed | changes, parse(Settings, content | stages, ""))
            if variant.id in found:
                raise SettingsError(
                    f"two variants are the same, {_said(found[variant.id].changes)} and "
                    f"{_said(variant.changes)}: a list holds a value twice"
                )
            found[variant.id] = variant
    return list(found.values())


def _seeded(whole: DictConfig) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The settings for each seed, which stages refer to."""
    content = resolved(whole)
    seeds = content["seed"]
    if isinstance(seeds, dict) and set(seeds) == {"cross"}:
        seeds = seeds["cross"]
    if not isinstance(seeds, list):
        yield {}, content
        return
    _check_values(_Dimension(("seed",), seeds, "cross"))
    for seed in seeds:
        yield {"seed": seed}, resolved(whole, seed=seed)


def _ways_of(stage: str, content: Any, choice: Any) -> list[_Way]:  # noqa: ANN401 - plain values
    """Every way in which a stage may be set."""
    way = _way_of(content)
    if way is None:
        return _expanded(stage, content)
    _check_values(_Dimension((stage,), content[way], way))
    found = []
    for value in content[way]:
        is_choice = not isinstance(value, dict)
        own = choice(stage, str(value)) if is_choice else _merged(content, way, value)
        inner = _ways_of(stage, own, choice)
        found += [_Way({stage: value} | each.changes, each.content) for each in inner]
    return found


def _merged(content: Mapping[str, Any], way: str, value: Any) -> Any:  # noqa: ANN401 - plain values
    """An alternative; one that is a mapping changes what else stands beside the list of them."""
    if not isinstance(value, dict):
        return value
    return {name: each for name, each in content.items() if name != way} | value


def _way_of(value: Any) -> str | None:  # noqa: ANN401 - any value
    """``cross`` or ``zip`` where a mapping is a list of alternatives."""
    if not isinstance(value, dict):
        return None
    return next((way for way in _WAYS if isinstance(value.get(way), list)), None)


def _expanded(stage: str, content: Any) -> list[_Way]:  # noqa: ANN401 - plain values
    """A stage's settings with one value of each list in its place."""
    dimensions = list(_dimensions(content, _section(stage, content), (stage,)))
    for dimension in dimensions:
        _check_values(dimension)
    together = [each for each in dimensions if each.way == "zip"]
    lengths = {len(each.values) for each in together}
    if len(lengths) > 1:
        named = ", ".join(f"{each.name} ({len(each.values)})" for each in together)
        raise SettingsError(f"{stage}: lists that advance together differ in length: {named}")
    axes = [[[(each, value)] for value in each.values] for each in dimensions if each.way != "zip"]
    if together:
        columns = zip(*(each.values for each in together), strict=True)
        axes.append([list(zip(together, column, strict=True)) for column in columns])
    found = []
    for combination in itertools.product(*axes):
        own = copy.deepcopy(content)
        placed = [pair for axis in combination for pair in axis]
        for dimension, value in placed:
            _put(own, dimension.path[1:], value)
        found.append(_Way({each.name: value for each, value in placed}, own))
    return found


def _put(content: Any, path: Sequence[str | int], value: Any) -> None:  # noqa: ANN401 - plain values
    *before, last = path
    for part in before:
        content = content[part]
    content[last] = copy.deepcopy(value)


def _dimensions(
    content: Any,  # noqa: ANN401 - plain values
    section: type[Section] | None,
    path: tuple[str | int, ...],
) -> Iterator[_Dimension]:
    """Lists of values below a place, in order."""
    if isinstance(content, list):
        for number, value in enumerate(content):
            yield from _inside(value, None, (*path, number))
        return
    for name, value in content.items():
        own = (*path, name)
        if isinstance(value, list) and _is_grid(section, content, name):
            yield _Dimension(own, value, "cross")
        else:
            yield from _inside(value, _options(content, name), own)


def _inside(
    value: Any,  # noqa: ANN401 - plain values
    section: type[Section] | None,
    path: tuple[str | int, ...],
) -> Iterator[_Dimension]:
    way = _way_of(value)
    if way is not None:
        yield _Dimension(path, [_merged(value, way, each) for each in value[way]], way)
    elif isinstance(value, dict | list):
        yield from _dimensions(value, section, path)


def _is_grid(section: type[Section] | None, content: Mapping[str, Any], name: str) -> bool:
    """Whether each element is a value of the setting, and the list is not."""
    if name == "encoder":
        return True
    known = _encoder_options(content) if "encoder" in content else section
    field = known.model_fields.get(name) if known else None
    values = content[name]
    if field is None or not values:
        return False
    return not _fits(field, values) and all(_fits(field, value) for value in values)


def _fits(field: Any, value: Any) -> bool:  # noqa: ANN401 - pydantic's
    from pydantic import TypeAdapter, ValidationError

    try:
        TypeAdapter(Annotated[field.annotation, field]).validate_python(value)
    except ValidationError:
        return False
    return True


def _section(stage: str, content: Mapping[str, Any]) -> type[Section] | None:
    """The type of a stage's settings; of a union the one of its method, or methods."""
    from typing import get_args

    kind = Settings.model_fields[stage].annotation
    asked = content.get("method")
    asked = asked if isinstance(asked, list) else [asked]
    for each in get_args(kind) or (kind,):
        fields = each.model_fields
        known = get_args(fields["method"].annotation) if "method" in fields else asked
        if all(method in known for method in asked):
            section: type[Section] = each
            return section
    return None


def _options(content: Mapping[str, Any], name: str) -> type[Section] | None:
    """The type of a transform step's options, where ``name`` is where they stand."""
    if name != "options" or not isinstance(content.get("step"), str):
        return None
    from shoal.transform.pipeline import STEPS

    step = STEPS.get(content["step"])
    return step.Options if step else None


def _encoder_options(content: Mapping[str, Any]) -> type[Section] | None:
    """The type of an encoder's options, which stand beside its name."""
    from shoal.encode.encoders import ENCODERS

    encoder = ENCODERS.get(str(content["encoder"]))
    return encoder.Options if encoder else None


def _check_values(dimension: _Dimension) -> None:
    if not dimension.values:
        raise SettingsError(f"{dimension.name}: an empty list of values")


def _said(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in changes.items()) or "as it is"
