"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.errors import ShoalError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FULL = {
    errno.ENOSPC: "free some space or raise the quota",
    errno.EDQUOT: "free some space or raise the quota",
    errno.EFBIG: "raise the limit on the size of files",
}
"""Errors of a full disk, with advice."""

_OS_ERROR = re.compile(r"\(os error (\d+)\)")


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


def write_files(files: Mapping[str, bytes], folder: Path) -> None:
    """Write files into a folder; that of :func:`replacing` makes them appear together.

    Args:
        files: Their content by name, which may have folders in it.
        folder: The folder, which need not be there.
    """
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def append_line(path: str | os.PathLike[str], line: str) -> None:
    """Add a line to a text file, whole or not at all; an unfinished last line is ended first.

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
    """An error of the system as a line: the file, the reason and what may help."""
    number = _system_error(error)
    reason = _system_reason(number) if number else " ".join(str(error).split())
    files = (error.filename, error.filename2)
    names = [os.fsdecode(file) for file in files if file is not None]
    return ": ".join([" -> ".join(names), reason] if names else [reason or type(error).__name__])


def _system_error(error: Exception) -> int | None:
    """The system's number of an error; safetensors has it in its text alone."""
    if isinstance(error, OSError):
        return error.errno
    number = _OS_ERROR.search(str(error))
    return int(number[1]) if number else None


def _system_reason(number: int | None) -> str:
    reason = os.strerror(number or 0)
    advice = _FULL.get(number or 0)
    return reason[:1].lower() + reason[1:] + (f"; {advice}" if advice else "")


@contextlib.contextmanager
def locked(path: Path, busy: str = "") -> Iterator[None]:
    """Let one process or thread at a time, on any host, into the block of a lock file.

    The kernel, or the file server, frees the lock if its holder dies.

    Args:
        path: The lock file.
        busy: Said where another one is in the block; left out, its end is waited for.

    Raises:
        ShoalError: The file system has no locks, or another one is in the block.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
        except BlockingIOError:
            raise ShoalError(busy) from None
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


def copy_file(source: Path, target: Path) -> None:
    """Copy a file; the target is the old one or the whole new one."""
    with replacing(target) as aside:
        shutil.copyfile(source, aside)
