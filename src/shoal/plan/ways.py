"""Every way in which a stage may be set, where some of its settings are lists."""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from shoal.errors import SettingsError
from shoal.plan.arguments import single_arguments
from shoal.search.points import NOT_IN_GRID
from shoal.settings import Settings
from shoal.settings.config_files import BUDGET, STAGES, one_choice
from shoal.settings.learning import Model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from shoal.settings.section import Section

_WAYS = ("cross", "zip")


class _Dimension(NamedTuple):
    """A list of values for one setting of a stage."""

    path: tuple[str | int, ...]
    values: list[Any]
    way: str

    @property
    def name(self) -> str:
        return ".".join(str(part) for part in self.path)


class Way(NamedTuple):
    """One of a stage's settings.

    Attributes:
        changes: What tells it from the others: settings by name.
        content: The stage's settings, plain values.
        place: Where it stands among the others: for each list of values, those within a chosen
            value after the choice, which of how many it takes.
    """

    changes: dict[str, Any]
    content: Any
    place: tuple[tuple[int, int], ...]


def ways_of(
    stage: str,
    content: Any,  # noqa: ANN401 - plain values
    choice: Callable[[str, str], Any],
) -> list[Way]:
    """Every way in which a stage may be set.

    Args:
        stage: Its name.
        content: Its settings as they are composed.
        choice: Gives the settings of another of its choices by stage and name.

    Raises:
        SettingsError: A list is empty, or lists that advance together differ in length.
    """
    if not isinstance(content, dict):
        return [Way({}, content, ())]  # which no settings are, so that it is refused as they are
    way = _way_of(content)
    if way is None:
        return _expanded(stage, content)
    check_values(stage, content[way])
    found = []
    for number, value in enumerate(content[way]):
        is_choice = not isinstance(value, dict)
        own = choice(stage, str(value)) if is_choice else _merged(content, way, value)
        inner = ways_of(stage, own, choice)
        place = (number, len(content[way]))
        found += [
            Way({stage: value} | each.changes, each.content, (place, *each.place)) for each in inner
        ]
    return found


def refuse_ways(content: Mapping[str, Any]) -> None:
    """Refuse lists of alternatives for what is no stage.

    Raises:
        SettingsError: There is one; the message says what works.
    """
    for section, value in content.items():
        if section not in (*STAGES, "seed") and _way_of(value) is not None:
            raise SettingsError(one_choice(section))


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


def _expanded(stage: str, content: Any) -> list[Way]:  # noqa: ANN401 - plain values
    """A stage's settings with one value of each list in its place."""
    dimensions = list(_dimensions(content, _section(stage, content), (stage,)))
    for dimension in dimensions:
        check_values(dimension.name, dimension.values)
        if stage == "train_specialists" and dimension.path[1] not in BUDGET:
            raise SettingsError(_one_value(dimension))
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
    for numbers in itertools.product(*(range(len(axis)) for axis in axes)):
        own = copy.deepcopy(content)
        placed = [pair for axis, n in zip(axes, numbers, strict=True) for pair in axis[n]]
        for dimension, value in placed:
            _put(own, dimension.path[1:], value)
        place = tuple((n, len(axis)) for n, axis in zip(numbers, axes, strict=True))
        found.append(Way({each.name: value for each, value in placed}, own, place))
    return found


def _one_value(dimension: _Dimension) -> str:
    """The error where a setting of training has several values and can have one."""
    name, here = dimension.path[1], f"lists are for {', '.join(BUDGET)}"
    if name in NOT_IN_GRID:
        return f"{dimension.name}: takes one value, {here}"
    return f"{dimension.name}: takes one value, {here}; values to choose from stand in grid.{name}"


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
    if name == "encoder" or (section is Model and name == "_target_"):
        return True
    known = _encoder_options(content) if "encoder" in content else section
    field = known.model_fields.get(name) if known else None
    values = content[name]
    if section is Model and field is None:
        targets = content.get("_target_")
        targets = targets if isinstance(targets, list) else [targets]
        return all(name in single_arguments(str(target)) for target in targets)
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


def check_values(name: str, values: Sequence[Any]) -> None:
    """Refuse an empty list of values.

    Raises:
        SettingsError: It is empty; the message names the setting.
    """
    if not values:
        raise SettingsError(f"{name}: an empty list of values")
