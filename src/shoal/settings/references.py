"""References of settings to each other, ``${seed}``, and to facts of the data, ``${data:shape}``.

There are no others: what OmegaConf could take from the environment would end up in results, and a
few references that each stand for several others could stand for billions of values.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from shoal.errors import SettingsError, nearest
from shoal.formats.shapes import FACTS, PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MOST = 10_000_000
"""Most characters of settings, once every reference is replaced."""

_EACH = 50
"""Characters that a value counts for, beside those of a text."""

_DEEPEST = 100
_OPEN = "${"
_REFERENCE = re.compile(r"(?<!\\)\$\{(?:data:(?P<fact>\w+)|(?P<name>\w[\w-]*(?:\.[\w-]+)*))\}")


def check_references(content: Any) -> None:  # noqa: ANN401 - plain values
    """Refuse every reference that is not of the two kinds, and several in one text.

    Raises:
        SettingsError: There is one; the message names the setting.
    """
    for place, text in _texts(content, ()):
        _reference(text, ".".join(place))


def followed(content: Mapping[str, object]) -> dict[str, Any]:
    """Settings with each reference replaced by its value.

    A fact of the data becomes ``data:NAME``, which is filled in where the data is known.

    Raises:
        SettingsError: A reference is of another kind, leads nowhere or to itself, all together
            stand for too much, or a number is not finite.
    """
    return _Follower(content).settings()


class _Follower:
    def __init__(self, content: Mapping[str, object]) -> None:
        self._content = content
        self._left = MOST

    def settings(self) -> dict[str, Any]:
        return {name: self._follow(value, (name,), ()) for name, value in self._content.items()}

    def _follow(
        self,
        value: Any,  # noqa: ANN401 - plain values
        place: tuple[str, ...],
        through: tuple[str, ...],
    ) -> Any:  # noqa: ANN401 - the same
        self._left -= _EACH + (len(value) if isinstance(value, str) else 0)
        if self._left < 0 or len(place) + len(through) > _DEEPEST:
            raise SettingsError(f"{'.'.join(place)}: refers to others that stand for too much")
        if isinstance(value, dict):
            return {k: self._follow(v, (*place, str(k)), through) for k, v in value.items()}
        if isinstance(value, list):
            return [self._follow(v, (*place, str(n)), through) for n, v in enumerate(value)]
        if isinstance(value, str):
            return self._text(value, place, through)
        if isinstance(value, float) and not math.isfinite(value):
            raise SettingsError(f"{'.'.join(place)}: {value} is not a finite number")
        return value

    def _text(self, text: str, place: tuple[str, ...], through: tuple[str, ...]) -> Any:  # noqa: ANN401
        where = ".".join(place)
        reference = _reference(text, where)
        if reference is None:
            return text
        name = reference["name"]
        if name is None:
            value: Any = PREFIX + reference["fact"]
        elif name in through:
            raise SettingsError(f"{where}: {reference[0]} refers to itself")
        else:
            value = self._follow(self._named(name, where), place, (*through, name))
        if reference[0] == text:
            return value
        if isinstance(value, dict | list):
            raise SettingsError(f"{where}: {reference[0]} stands for several values, not for text")
        return text.replace(reference[0], str(value))

    def _named(self, name: str, where: str) -> Any:  # noqa: ANN401 - plain values
        value: Any = self._content
        for part in name.split("."):
            if isinstance(value, dict) and part in value:
                value = value[part]
            elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
                value = value[int(part)]
            else:
                raise SettingsError(f"{where}: ${{{name}}} refers to a setting that is not there")
        return value


def _reference(text: str, where: str) -> re.Match[str] | None:
    """The one reference of a text; None where it has none."""
    if _OPEN not in text:
        return None
    reference = _REFERENCE.search(text)
    if reference is None or text.count(_OPEN) > 1:
        raise SettingsError(
            f"{where}: {text!r}: a text may refer to one other setting, as ${{seed}}, or to one "
            f"fact of the data, as ${{data:features}}, and to nothing else"
        )
    if reference["fact"] and reference["fact"] not in FACTS:
        raise SettingsError(
            f"{where}: no such fact of the data, {reference['fact']!r}; "
            f"{nearest(reference['fact'], FACTS)}"
        )
    return reference


def _texts(content: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:  # noqa: ANN401
    """Every text among plain values, names included, with where it stands."""
    if isinstance(content, str):
        yield place, content
    elif isinstance(content, dict):
        for name, value in content.items():
            yield place, str(name)
            yield from _texts(value, (*place, str(name)))
    elif isinstance(content, list):
        for number, value in enumerate(content):
            yield from _texts(value, (*place, str(number)))
