"""An open source file, of which all bytes are of one content or an error says so."""

from __future__ import annotations

import hashlib
import io
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from shoal.errors import SourceError
from shoal.settings.data import ArraySource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class SourceFile:
    """A source file, opened once: every reader of it reads that file, whatever its name becomes.

    Attributes:
        path: The file.
        arrays: Its array names, where it is an NPZ file that has other ones than its columns.
    """

    def __init__(self, source: str | Path | ArraySource) -> None:
        """Open the file.

        Raises:
            SourceError: It is missing, empty or no regular file.
        """
        self.arrays = source.arrays if isinstance(source, ArraySource) else None
        self.path = existing(source.path if isinstance(source, ArraySource) else str(source))
        self._descriptor = os.open(self.path, os.O_RDONLY)
        self._opened = self._mark()
        if not os.fstat(self._descriptor).st_size:
            self.close()
            raise SourceError(f"{self.path}: the file is empty (0 bytes)")

    def reader(self) -> io.BufferedReader:
        """Its bytes from the beginning; closing the reader leaves the file open."""
        return io.BufferedReader(_Reader(self._descriptor))

    def name_when_open(self) -> str:
        """A name by which a library opens this very file, from the beginning.

        Arrow reads ahead in threads of its own; one that read a Python file would wait for ever
        where the process ends meanwhile.
        """
        os.lseek(self._descriptor, 0, os.SEEK_SET)  # some systems share the place
        return f"/dev/fd/{self._descriptor}"

    def content(self) -> str:
        """SHA-256 of its bytes, hexadecimal."""
        return hashlib.file_digest(self.reader(), "sha256").hexdigest()

    def check(self, expected: Callable[[str], bool] | None = None) -> None:
        """Refuse a file that changed since it was opened.

        Args:
            expected: Whether a content, by its hash, is the one that was to be read.

        Raises:
            SourceError: The file changed, or its content is another one.
        """
        right = expected is None or expected(self.content())
        if not right or self._mark() != self._opened:
            raise SourceError(f"{self.path}: changed while the run read it; start the run again")

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _mark(self) -> tuple[int, ...]:
        stat = os.fstat(self._descriptor)
        return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


@contextmanager
def opened(
    source: str | Path | ArraySource, expected: Callable[[str], bool] | None = None
) -> Iterator[SourceFile]:
    """Open a source file; when the block ends, its content must still be what it was.

    Args:
        source: The file.
        expected: Whether a content, by its hash, is the one that is to be read.

    Raises:
        SourceError: It is missing, empty or no regular file, or it changed meanwhile. That it
            changed is also said in place of whatever was found wrong in it.
    """
    file = SourceFile(source)
    try:
        try:
            yield file
        except SourceError:
            file.check(expected)
            raise
        file.check(expected)
    finally:
        file.close()


def existing(name: str) -> Path:
    """Path of a regular file that is there.

    Raises:
        SourceError: There is none.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        raise SourceError(f"{name}: is a folder; name its files, such as {path / '*.parquet'}")
    if path.is_symlink() and not path.exists():
        raise SourceError(f"{name}: is a link to {path.readlink()}, which is not there")
    if not path.exists():
        raise SourceError(f"{name}: no such file")
    if not path.is_file():
        raise SourceError(f"{name}: is no regular file")
    return path


class _Reader(io.RawIOBase):
    """A file's bytes by its descriptor, at a place that no other reader moves."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = os.pread(self._descriptor, len(buffer), self._place)
        buffer[: len(part)] = part
        self._place += len(part)
        return len(part)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place}.get(whence)
        self._place = offset + (os.fstat(self._descriptor).st_size if start is None else start)
        return self._place

    def tell(self) -> int:
        return self._place
