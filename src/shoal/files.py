"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.errors import CorruptError, ShoalError, SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to write to, which becomes ``path`` when the block ends well.

    The temporary path is a neighbour with the same suffixes, so that the rename is atomic and
    a writer that looks at suffixes works. When the block raises, it is removed.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    aside = final.with_name(f".{os.getpid()}-{final.name}")
    try:
        yield aside
        aside.replace(final)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        reason = os.strerror(error.errno).lower()
        raise ShoalError(
            f"{final}: not written, {reason}; free some space or raise the quota"
        ) from None
    finally:
        if aside.is_dir():
            shutil.rmtree(aside)
        else:
            aside.unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], content: Any) -> None:  # noqa: ANN401 - any JSON value
    """Write ``content`` as indented JSON with sorted keys, atomically."""
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
    with replacing(path) as aside:
        aside.write_text(text + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:  # noqa: ANN401 - any JSON value
    """Content of a JSON file.

    Raises:
        SourceError: The file does not exist.
        CorruptError: It is not JSON.
    """
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file") from None
    except ValueError as error:
        raise CorruptError(f"{path}: not readable as JSON ({error})") from None


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
        before = dict(read_json(path)) if path.exists() else {}
        after = change(before)
        if after != before:
            write_json(path, after)


@contextmanager
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
    with suppress(OSError):
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
