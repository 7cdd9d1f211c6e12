"""Reading of JSON from any source, within bounds, and writing."""

from __future__ import annotations

import json
import math
import re
import stat
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from shoal.errors import CorruptError, SourceError
from shoal.formats.files import locked, replacing

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

T = TypeVar("T")

LONGEST = 1 << 26
"""Most bytes of a document, where a reader sets no limit of its own."""

_DEEPEST = 64
"""Most levels of lists and objects within each other."""

_LONE_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
"""Halves of characters as JSON may write them; whole characters are pairs of these."""


def write_json(path: str | os.PathLike[str], content: Any) -> None:  # noqa: ANN401 - any JSON value
    """Write ``content`` as indented JSON with sorted keys, atomically."""
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
    with replacing(path) as aside:
        aside.write_text(text + "\n")


def read_json(
    path: str | os.PathLike[str],
    kind: type[T],
    *,
    limit: int = LONGEST,
    advice: str = "",
) -> T:
    """Content of a JSON file, checked.

    Args:
        path: The file.
        kind: Type of the content, see :func:`parse_json`.
        limit: Most bytes that the file may have.
        advice: Ends the message about a wrong file.

    Raises:
        SourceError: There is no such file.
        CorruptError: It is not a document of that kind.
    """
    file = Path(path)
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise SourceError(f"{path}: is no regular file")
        content = b"" if status.st_size > limit else file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise SourceError(f"{path}: no such file") from None
    try:
        if status.st_size > limit:
            raise CorruptError(_too_long(path, limit))
        return parse_json(content, path, kind, limit=limit)
    except CorruptError as error:
        if not advice:
            raise
        raise CorruptError(f"{error}; {advice}") from None


def read_made(path: str | os.PathLike[str], kind: type[T]) -> T:
    """Content of a document that a run can make again; see :func:`read_json`."""
    return read_json(path, kind, advice="remove it, and the next run makes it again")


def parse_json(
    text: str | bytes,
    place: object,
    kind: type[T],
    *,
    limit: int = LONGEST,
) -> T:
    """Content of a JSON text, checked.

    It is bounded in length and depth, names each key once, and has finite numbers and strings
    that are Unicode.

    Args:
        text: The document; bytes are UTF-8.
        place: Its source, a path or the name of an option; begins each error.
        kind: A pydantic model, of which an instance is returned; or a ``TypedDict``, ``dict``,
            ``list`` and the like of plain values, which the content is compared with and returned
            as it is, with the keys that a ``TypedDict`` does not mention.
        limit: Most bytes that it may have.

    Raises:
        CorruptError: It is not a document of that kind.
    """
    if len(text) > limit:
        raise CorruptError(_too_long(place, limit))
    try:
        plain = text if isinstance(text, str) else text.decode()
        content = _DECODER.decode(plain)
        if _LONE_SURROGATE.search(plain):
            json.dumps(content, ensure_ascii=False).encode()
    except ValueError as error:
        reason = "it is empty" if not text else error
        raise CorruptError(f"{place}: not readable as JSON ({reason})") from None
    except RecursionError:
        raise CorruptError(_too_deep(place)) from None
    if _is_deep(content):
        raise CorruptError(_too_deep(place))
    checked: T = content if kind is Any else _checked(content, kind, place)
    return checked


def _checked(content: Any, kind: Any, place: object) -> Any:  # noqa: ANN401 - any JSON value
    """The content as ``kind``, or one line about the first thing that is wrong."""
    from pydantic import BaseModel, ValidationError

    from shoal.formats.validation import explain, validated

    is_model = isinstance(kind, type) and issubclass(kind, BaseModel)
    try:
        valid = validated(kind, content, strict=not is_model)
    except ValidationError as error:
        raise CorruptError(f"{place}: {explain(kind, error, thing='key')}") from None
    return valid if is_model else content


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        ((double, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"key {double[:80]!r} twice")
    return members


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:80]} is not a finite number")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_finite, parse_float=_finite)


def _is_deep(content: Any) -> bool:  # noqa: ANN401 - any JSON value
    level: list[Any] = [[content]]
    for _ in range(_DEEPEST + 1):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return True


def _too_long(place: object, limit: int) -> str:
    return f"{place}: is longer than {limit >> 10} KiB, the most that such a document has"


def _too_deep(place: object) -> str:
    return f"{place}: not readable as JSON (lists and objects in more than {_DEEPEST} levels)"


def update_json(path: Path, change: Callable[[dict[str, Any]], Mapping[str, object]]) -> None:
    """Change the content of a JSON file, one process at a time.

    Args:
        path: The file; where there is none, its content is empty. The lock is a hidden file
            beside it.
        change: Old content to new; nothing is written where they are equal.

    Raises:
        ShoalError: The file system has no locks.
    """
    with locked(path.with_name(f".{path.name}.lock")):
        before = read_json(path, dict[str, Any]) if path.exists() else {}
        after = change(before)
        if after != before:
            write_json(path, after)
