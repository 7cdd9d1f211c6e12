"""Batches of raw columns from a source file, in bounded memory.

An open file is of one content from its first byte to its last, or an error says so.
"""

from __future__ import annotations

import glob
import hashlib
import io
import os
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from shoal.errors import SourceError, nearest
from shoal.settings.data import ArraySource

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Sequence

    import pyarrow as pa

    from shoal.sources.files import RowFile


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


SUFFIXES = (".csv", ".csv.gz", ".parquet", ".npz")
_GLOB_CHARACTERS = "*?["
_MOST_NAMED = 5
"""Names in one error."""

_only: ContextVar[Container[Path] | None] = ContextVar("only", default=None)


@contextmanager
def only(files: Container[Path]) -> Iterator[None]:
    """Within it sources are some of the files that paths and globs name, and no others.

    Args:
        files: They.
    """
    token = _only.set(files)
    try:
        yield
    finally:
        _only.reset(token)


def expand(files: Sequence[str | ArraySource]) -> list[tuple[Path, ArraySource | None]]:
    """Source files that paths and globs name, sorted by path, each once.

    Args:
        files: Paths or globs of CSV, Parquet or NPZ files, or NPZ files with array names.

    Returns:
        Each file with its array names, where it has such; within :func:`only`, of those alone.

    Raises:
        SourceError: A file is missing or of an unknown format, a glob matches nothing, or it
            matches a folder or a link to nothing, whose rows would be missing without a word.
    """
    sources: dict[Path, ArraySource | None] = {}
    unusable: list[str] = []
    for entry in files:
        if isinstance(entry, ArraySource):
            sources[existing(entry.path)] = entry
            continue
        for path in _matches(entry):
            try:
                sources.setdefault(existing(str(path)), None)
            except SourceError as error:
                unusable.append(str(error))
    if unusable:
        more = f"; and {len(unusable) - _MOST_NAMED} more" if len(unusable) > _MOST_NAMED else ""
        raise SourceError("; ".join(unusable[:_MOST_NAMED]) + more)
    taken = _only.get()
    if taken is not None:
        sources = {path: named for path, named in sources.items() if path in taken}
    if not sources:
        raise SourceError("sources.files: names no file")
    for path, named in sources.items():
        if _suffix(path) != ".npz" and named is not None:
            raise SourceError(f"{path}: array names are for .npz files only")
    return sorted(sources.items(), key=lambda item: str(item[0]))


def raw_batches(
    source: str | Path | ArraySource | SourceFile, rows: int, wanted: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Consecutive rows of a source file with its columns as they are stored.

    CSV columns are all strings, empty where the cell is. Parquet columns have their Arrow
    type. NPZ arrays are columns of their own type if 1-d, and otherwise fixed shape tensors
    of uint8, of float64 (2-d) or of float32.

    Args:
        source: The file, or one that is open; with array names for an NPZ file whose arrays are
            not named as its columns.
        rows: Rows in each batch but the last.
        wanted: Columns to read, all by default.

    Yields:
        Tables of ``rows`` rows, the last of them with fewer.

    Raises:
        SourceError: The file is missing, empty, cut off, corrupt or of an unknown format, lacks
            a wanted column, or changed while it was read.
    """
    if isinstance(source, SourceFile):
        yield from _checked(_by_format(source), source.path, rows, wanted)
        return
    with opened(source) as file:
        yield from _checked(_by_format(file), file.path, rows, wanted)


def _by_format(file: SourceFile) -> RowFile:
    """The reader of a file's format, its columns known."""
    from shoal.sources.files import READERS

    return READERS[_suffix(file.path)](file)


def _checked(
    file: RowFile, path: Path, rows: int, wanted: Sequence[str] | None
) -> Iterator[pa.Table]:
    """Batches of equal size, once the names of the columns are found usable."""
    from shoal.formats.tables import RESERVED

    for name in file.names:
        if name in RESERVED:
            raise SourceError(f"{path}: column {name!r} has a name that Shoal uses; rename it")
        if not name:
            place = file.names.index(name) + 1
            raise SourceError(
                f"{path}: column {place} has no name; name it or remove it; pandas writes an index "
                f"so, unless told index=False"
            )
        if file.names.count(name) > 1:
            raise SourceError(f"{path}: column {name!r} is there twice")
    names = list(file.names) if wanted is None else list(dict.fromkeys(wanted))
    for name in names:
        if name not in file.names:
            raise SourceError(f"{path}: has no column {name!r}; {nearest(name, file.names)}")
    empty = True
    for batch in _regrouped(file.batches(rows, names), rows):
        empty = False
        yield batch
    if empty:
        raise SourceError(f"{path}: the file has columns but no rows")


def _regrouped(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of ``rows`` rows, the last of them with fewer."""
    import pyarrow as pa

    waiting: list[pa.Table] = []
    count = 0
    for table in tables:
        waiting.append(table)
        count += len(table)
        if count < rows:
            continue
        joined = pa.concat_tables(waiting)
        whole = count - count % rows
        for start in range(0, whole, rows):
            yield joined.slice(start, rows)
        waiting, count = [joined.slice(whole)], count - whole
    if count:
        yield pa.concat_tables(waiting)


def _matches(pattern: str) -> list[Path]:
    """Everything that a path or glob names, folders and broken links included."""
    is_glob = any(character in pattern for character in _GLOB_CHARACTERS)
    literal = Path(pattern).expanduser()
    if literal.exists() or not is_glob:
        return [existing(pattern)]
    paths = [Path(name) for name in sorted(glob.glob(str(literal), recursive=True))]  # noqa: PTH207 - Path.glob takes no absolute pattern
    if literal.name == "**":  # it matches the folders on the way to its files
        paths = [path for path in paths if not path.is_dir()]
    if not paths:
        raise SourceError(f"{pattern}: no file matches")
    return paths


def _suffix(path: Path) -> str:
    """The ending that tells a file's format."""
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            return suffix
    raise SourceError(f"{path}: unknown format; source files end in {', '.join(SUFFIXES)}")
