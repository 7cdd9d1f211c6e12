"""Validation by pydantic types, and the first error in one line."""

from __future__ import annotations

from functools import cache
from reprlib import Repr
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import SchemaValidator

from shoal.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

_MOST = 10_000
"""Problems of which the first is looked for; pydantic lists all, each in a kilobyte."""

_LONGEST = 500
"""Characters of a key, or of a reason, that are shown."""

_SHORTENED = Repr()
_SHORTENED.maxstring = _SHORTENED.maxother = 80
"""Shows the beginning of a value that is wrong; it may be a whole document."""


def validated(kind: Any, content: object, *, strict: bool = False) -> Any:  # noqa: ANN401 - any pydantic type
    """``content`` as ``kind``; in a list no further than to the first value that is wrong.

    Args:
        kind: The pydantic type.
        content: Plain values.
        strict: Whether a value of another type is refused, even where it could be converted.

    Raises:
        pydantic.ValidationError: It does not fit; see :func:`explain`.
    """
    return _validator(kind).validate_python(content, strict=strict or None)


@cache
def _validator(kind: Any) -> SchemaValidator:  # noqa: ANN401 - the same
    return SchemaValidator(_fail_fast(TypeAdapter(kind).core_schema))


def _fail_fast(schema: Any) -> Any:  # noqa: ANN401 - a part of a core schema
    """A schema whose lists end at the first error: errors about a million values take gigabytes."""
    if isinstance(schema, list):
        return [_fail_fast(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {name: _fail_fast(part) for name, part in schema.items()}
    is_sequence = schema.get("type") in ("list", "tuple", "set", "frozenset")
    return parts | {"fail_fast": True} if is_sequence else parts


def explain(
    kind: Any,  # noqa: ANN401
    error: ValidationError,
    place: str = "",
    thing: str = "setting",
) -> str:
    """The first problem in one line, unknown keys before others since they cause missing ones.

    Args:
        kind: The pydantic type.
        error: Errors of pydantic.
        place: Name of the content.
        thing: Word for a key of it.
    """
    if error.error_count() > _MOST:
        return ": ".join([*([place] if place else []), f"{error.error_count()} {thing}s are wrong"])
    problems = sorted(error.errors(include_url=False), key=lambda p: p["type"] != "extra_forbidden")
    problem = _meant(problems)
    path, sections = _path(kind, problem["loc"])
    shown = [place, *(part[:_LONGEST] for part in path)]
    name = ".".join(part for part in shown if part)
    before = f"{name}: " if name else ""
    if problem["type"] == "extra_forbidden":
        known = [str(name) for section in sections for name in _fields(section)]
        return f"{before}unknown {thing}; {nearest(str(problem['loc'][-1]), known)}"
    if problem["type"] == "missing":
        return f"{before}{thing} is missing"
    if problem["type"].startswith("union_tag"):
        return f"{before}{problem['msg']}"
    if problem["type"] == "value_error":
        reason = problem["msg"].removeprefix("Value error, ")
        return before + (reason if len(reason) <= _LONGEST else f"{reason[:_LONGEST]} …")
    return f"{before}{problem['msg']}, not {_SHORTENED.repr(problem.get('input'))}"


def _meant(problems: Sequence[ErrorDetails]) -> ErrorDetails:
    """The first problem; of a mapping where a word may stand too, what is wrong within it."""
    first = problems[0]
    union = first["loc"][:-1]
    if union and first["type"] == "literal_error" and isinstance(first["input"], dict):
        inner = [each for each in problems if each["loc"][: len(union)] == union]
        return max(inner, key=lambda each: len(each["loc"]))
    return first


def _path(
    kind: Any,  # noqa: ANN401 - any pydantic type
    location: tuple[int | str, ...],
) -> tuple[list[str], list[type[BaseModel]]]:
    """Names on the way to a place, as the user wrote them, and the sections of its last part.

    Pydantic's place also holds what tells the members of a union apart, such as ``kmeans``.
    """
    names: list[str] = []
    kinds, sections, is_told_apart = _members(kind), [], False
    for part in location:
        sections = [
            kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)
        ]
        if part == "[key]":
            continue
        if len(kinds) > 1 and not is_told_apart:
            kinds = [section for section in sections if part in _methods(section)] or kinds
            is_told_apart = True
            continue
        names.append(str(part))
        container = list if isinstance(part, int) else dict
        fields = [_fields(section) for section in sections]
        inner = [known[part].annotation for known in fields if part in known]
        inner += [get_args(kind)[-1] for kind in kinds if get_origin(kind) is container]
        kinds = [member for annotation in inner for member in _members(annotation)]
        is_told_apart = False
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
