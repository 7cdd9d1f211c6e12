"""The base of every settings section: frozen, typed, with a description for each field."""

from __future__ import annotations

from reprlib import Repr
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from shoal.errors import SettingsError, nearest
from shoal.files import parse_json

_SHORTENED = Repr()
_SHORTENED.maxstring = _SHORTENED.maxother = 80
"""Shows the beginning of a value that is wrong; it may be a whole document."""


class Section(BaseModel):
    """Settings of one stage. Values come from ``config/``, never from defaults here."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

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
    methods = _methods(kind)
    location = ".".join(str(part) for part in problem["loc"] if part not in methods)
    name = ".".join(part for part in (place, location) if part)
    before = f"{name}: " if name else ""
    if problem["type"] == "extra_forbidden":
        known = _known_keys(kind, problem["loc"])
        return f"{before}unknown {thing}; {nearest(str(problem['loc'][-1]), known)}"
    if problem["type"] == "missing":
        return f"{before}{thing} is missing"
    if problem["type"].startswith("union_tag"):
        return f"{before}{problem['msg']}"
    if problem["type"] == "value_error":
        return before + problem["msg"].removeprefix("Value error, ")
    return f"{before}{problem['msg']}, not {_SHORTENED.repr(problem.get('input'))}"


def _known_keys(kind: Any, location: tuple[int | str, ...]) -> list[str]:  # noqa: ANN401
    """Names of the fields of the section that ``location`` ends in."""
    from typing import get_args

    *path, _ = location
    candidates = _sections(kind)
    for part in path:
        inner: list[type[BaseModel]] = []
        for candidate in candidates:
            if isinstance(part, str) and part in candidate.model_fields:
                inner += _sections(candidate.model_fields[part].annotation)
            elif any(part in get_args(f.annotation) for f in candidate.model_fields.values()):
                inner.append(candidate)
        candidates = inner or candidates
    return [name for candidate in candidates for name in candidate.model_fields]


def _methods(kind: Any) -> set[str]:  # noqa: ANN401
    """Names that tell a union's sections apart; they are in an error's place, not in the user's."""
    from typing import get_args

    inner = [s for section in _sections(kind) for s in _below(section)]
    fields = [
        section.model_fields["method"] for section in inner if "method" in section.model_fields
    ]
    return {name for field in fields for name in get_args(field.annotation)}


def _below(section: type[BaseModel]) -> list[type[BaseModel]]:
    """A section and those that its fields hold."""
    held = [s for field in section.model_fields.values() for s in _sections(field.annotation)]
    return [section, *held]


def _sections(kind: Any) -> list[type[BaseModel]]:  # noqa: ANN401
    """Every section type that occurs in a type annotation."""
    from typing import get_args

    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [section for part in get_args(kind) for section in _sections(part)]
