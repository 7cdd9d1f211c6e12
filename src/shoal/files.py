"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
import re
import shutil
import stat
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from shoal.errors import CorruptError, ShoalError, SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import TypeAdapter

T = TypeVar("T")

LONGEST = 1 << 26
"""Most bytes of a document, where a reader sets no limit of its own."""

_DEEPEST = 64
"""Most levels of lists and objects within each other."""

_FULL = {
    errno.ENOSPC: "free some space or raise the quota",
    errno.EDQUOT: "free some space or raise the quota",
    errno.EFBIG: "raise the limit on the size of files",
}
"""Errors of a writer for which there is no room, with what helps."""

_OS_ERROR = re.compile(r"\(os error (\d+)\)")

_LONE_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
"""What half of a character may look like in JSON; whole ones are pairs of these."""


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to write to, which becomes ``path`` when the block ends well.

    The temporary path is a neighbour with the same suffixes, so that the rename is atomic and
    a writer that looks at suffixes works. When the block raises, it is removed.
    """
    final = Path(path)
    aside = final.with_name(f".{os.getpid()}-{final.name}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        aside.replace(final)
    except Exception as error:
        number = _system_error(error)
        is_ours = isinstance(error, OSError) and error.filename in (aside, str(aside))
        if not (is_ours or number in _FULL):
            raise
        raise ShoalError(f"{final}: not written, {_system_reason(number)}") from None
    finally:
        with contextlib.suppress(OSError):  # the first error counts
            if aside.is_dir():
                shutil.rmtree(aside)
            else:
                aside.unlink(missing_ok=True)


def append_line(path: str | os.PathLike[str], line: str) -> None:
    """Add a line to a text file, whole or not at all; a last one that was cut short gets an end.

    Raises:
        ShoalError: There is no room for it.
    """
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+b", buffering=0) as stream:
        end = stream.seek(0, os.SEEK_END)
        if end:
            stream.seek(end - 1)
        is_whole = end == 0 or stream.read(1) == b"\n"
        content = (line if is_whole else f"\n{line}").encode() + b"\n"
        try:
            while content:
                content = content[stream.write(content) :]
        except OSError as error:
            stream.truncate(end)
            raise ShoalError(f"{path}: not written, {_system_reason(error.errno)}") from None


def explained(error: OSError) -> str:
    """What the system refused, as a line: the file, the reason and what may help."""
    number = _system_error(error)
    reason = _system_reason(number) if number else " ".join(str(error).split())
    names = [os.fsdecode(each) for each in (error.filename, error.filename2) if each is not None]
    return ": ".join([" -> ".join(names), reason] if names else [reason or type(error).__name__])


def _system_error(error: Exception) -> int | None:
    """The system's number of an error; safetensors has it in its text alone."""
    if isinstance(error, OSError):
        return error.errno
    found = _OS_ERROR.search(str(error))
    return int(found[1]) if found else None


def _system_reason(number: int | None) -> str:
    reason = os.strerror(number or 0)
    advice = _FULL.get(number or 0)
    return reason[:1].lower() + reason[1:] + (f"; {advice}" if advice else "")


def write_json(path: str | os.PathLike[str], content: Any) -> None:  # noqa: ANN401 - any JSON value
    """Write ``content`` as indented JSON with sorted keys, atomically."""
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
    with replacing(path) as aside:
        aside.write_text(text + "\n")


@overload
def read_json(path: str | os.PathLike[str], *, limit: int = ..., advice: str = ...) -> Any: ...  # noqa: ANN401 - any JSON value


@overload
def read_json(
    path: str | os.PathLike[str], kind: type[T], *, limit: int = ..., advice: str = ...
) -> T: ...


def read_json(
    path: str | os.PathLike[str],
    kind: Any = Any,
    *,
    limit: int = LONGEST,
    advice: str = "",
) -> Any:
    """Content of a JSON file, checked.

    Args:
        path: The file.
        kind: What the content has to be, see :func:`parse_json`.
        limit: Most bytes that the file may have.
        advice: What to do about a file that is not as it should be.

    Raises:
        SourceError: There is no such file.
        CorruptError: It is not a document of that kind.
    """
    file = Path(path)
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise SourceError(f"{path}: is no regular file")
        content = b"" if found.st_size > limit else file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise SourceError(f"{path}: no such file") from None
    try:
        if found.st_size > limit:
            raise CorruptError(_too_long(path, limit))
        return parse_json(content, path, kind, limit=limit)
    except CorruptError as error:
        if not advice:
            raise
        raise CorruptError(f"{error}; {advice}") from None


def read_made(path: str | os.PathLike[str], kind: type[T]) -> T:
    """Content of a document that a run makes again where it is missing; see :func:`read_json`."""
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
        place: Where it is from: a path, or an option's name. It begins each error.
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
    found: T = content if kind is Any else _checked(content, kind, place)
    return found


def _checked(content: Any, kind: Any, place: object) -> Any:  # noqa: ANN401 - any JSON value
    """The content as ``kind``, or one line about the first thing that is wrong."""
    from pydantic import BaseModel, ValidationError

    is_model = isinstance(kind, type) and issubclass(kind, BaseModel)
    try:
        found = _validator(kind).validate_python(content, strict=not is_model)
    except ValidationError as error:
        from shoal.settings.section import explain

        raise CorruptError(f"{place}: {explain(kind, error, thing='key')}") from None
    return found if is_model else content


@cache
def _validator(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401 - any pydantic type
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        ((double, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"key {double[:80]!r} twice")
    return found


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


def update_json(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Replace a JSON file's content by what ``change`` makes of it, one process at a time.

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


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one process or thread on any host is in the block for the same lock file at a time.

    The kernel, or the file server, frees the lock if its holder dies.

    Raises:
        ShoalError: The file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            raise ShoalError(
                f"{path.parent}: the file system has no locks ({os.strerror(error.errno)}); "
                f"mount it with them (Lustre: flock), or keep these files elsewhere"
            ) from None
        yield


_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
_held: list[Any] = []


def hold(path: Path) -> None:
    """Lock a file until this process ends; several processes may. Without locks, do nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("ab")
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_SH)
    _held.append(file)


def is_held(path: Path) -> bool:
    """Whether some process holds the file, see :func:`hold`."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False
