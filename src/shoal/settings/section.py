"""The base of every settings section: frozen, typed, with a description for each field."""

from __future__ import annotations

from reprlib import Repr
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from shoal.errors import SettingsError, nearest
from shoal.files import parse_json

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_SHORTENED = Repr()
_SHORTENED.maxstring = _SHORTENED.maxother = 80
"""Shows the beginning of a value that is wrong; it may be a whole document."""

Seed = Annotated[int, Field(ge=0, le=2**32 - 1, strict=True)]
"""A seed that every library takes: scikit-learn's and numpy's older generators stop at 32 bits."""


class Section(BaseModel):
    """Settings of one stage. Values come from ``config/``, never from defaults here."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )

    def as_json(self) -> dict[str, Any]:
        """The settings as plain JSON values, the form that ids and commands use."""
        return self.model_dump(mode="json", by_alias=True)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Settings from the JSON text that a rule passes to its command."""
        settings: Self = parse_text(cls, text, cls.__name__.lower())
        return settings


def parse(kind: Any, content: Any, place: str) -> Any:  # noqa: ANN401 - any pydantic type
    """``content`` as ``kind``, or one line about the first thing that is wrong.

    Raises:
        SettingsError: A key is unknown (with the nearest known one), missing or of a wrong value.
    """
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        raise SettingsError(explain(kind, error, place)) from None


def parse_text(kind: Any, text: str, place: str) -> Any:  # noqa: ANN401 - any pydantic type
    """The same of JSON text.

    Raises:
        CorruptError: It is no JSON.
        SettingsError: A key is unknown (with the nearest known one), missing or of a wrong value.
    """
    return parse(kind, parse_json(text, place, dict[str, Any]), place)


def explain(
    kind: Any,  # noqa: ANN401
    error: ValidationError,
    place: str = "",
    thing: str = "setting",
) -> str:
    """The first problem, unknown keys before others since they cause missing ones.

    Args:
        kind: The pydantic type that something was read as.
        error: What pydantic says of it.
        place: Name of what holds it.
        thing: What a key of it is called.
    """
    problems = sorted(error.errors(), key=lambda p: p["type"] != "extra_forbidden")
    problem = problems[0]
    path, sections = _path(kind, problem["loc"])
    name = ".".join(part for part in (place, *path) if part)
    before = f"{name}: " if name else ""
    if problem["type"] == "extra_forbidden":
        known = [str(name) for section in sections for name in _fields(section)]
        return f"{before}unknown {thing}; {nearest(str(problem['loc'][-1]), known)}"
    if problem["type"] == "missing":
        return f"{before}{thing} is missing"
    if problem["type"].startswith("union_tag"):
        return f"{before}{problem['msg']}"
    if problem["type"] == "value_error":
        return before + problem["msg"].removeprefix("Value error, ")
    return f"{before}{problem['msg']}, not {_SHORTENED.repr(problem.get('input'))}"


def _path(
    kind: Any,  # noqa: ANN401 - any pydantic type
    location: tuple[int | str, ...],
) -> tuple[list[str], list[type[BaseModel]]]:
    """A place as the user wrote it, and the sections whose fields its last part may be.

    Pydantic's place also holds what tells the members of a union apart, such as ``kmeans``.
    """
    names: list[str] = []
    kinds, sections, is_told_apart = _members(kind), [], False
    for part in location:
        sections = [each for each in kinds if _is_section(each)]
        if part == "[key]":
            continue
        if len(kinds) > 1 and not is_told_apart:
            kinds = [each for each in sections if part in _methods(each)] or kinds
            is_told_apart = True
            continue
        names.append(str(part))
        container = list if isinstance(part, int) else dict
        inner = [_fields(each)[part].annotation for each in sections if part in _fields(each)]
        inner += [get_args(each)[-1] for each in kinds if get_origin(each) is container]
        kinds, is_told_apart = [member for each in inner for member in _members(each)], False
    return names, sections


def _fields(section: type[BaseModel]) -> dict[int | str, FieldInfo]:
    """Fields by the names that users know."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def _methods(section: type[BaseModel]) -> tuple[Any, ...]:
    """Values of ``method`` by which a union's sections are told apart."""
    method = section.model_fields.get("method")
    return get_args(method.annotation) if method else ()


def _members(kind: Any) -> list[Any]:  # noqa: ANN401 - any pydantic type
    """A type, or the members of a union but for None, without what is annotated."""
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        members = [member for part in get_args(kind) for member in _members(part)]
        return [member for member in members if member is not NoneType]
    return [kind]


def _is_section(kind: Any) -> bool:  # noqa: ANN401 - the same
    return isinstance(kind, type) and issubclass(kind, BaseModel)
