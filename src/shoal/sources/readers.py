"""Batches of raw columns from a source file, in bounded memory."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING

from shoal.errors import SourceError, nearest
from shoal.settings.data import ArraySource

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa

    from shoal.sources import arrays, delimited, parquet

    _Opened = arrays.NpzFile | parquet.ParquetSource | delimited.CsvFile

SUFFIXES = (".csv", ".csv.gz", ".parquet", ".npz")
_GLOB_CHARACTERS = "*?["


def expand(files: Sequence[str | ArraySource]) -> list[tuple[Path, ArraySource | None]]:
    """Source files that paths and globs name, sorted by path, each once.

    Args:
        files: Paths or globs of CSV, Parquet or NPZ files, or NPZ files with array names.

    Returns:
        Each file with its array names, where it has such.

    Raises:
        SourceError: A file is missing or of an unknown format, or a glob matches nothing.
    """
    found: dict[Path, ArraySource | None] = {}
    for entry in files:
        if isinstance(entry, ArraySource):
            found[_existing(entry.path)] = entry
            continue
        for path in _matches(entry):
            found.setdefault(path, None)
    if not found:
        raise SourceError("sources.files: names no file")
    for path, named in found.items():
        suffix = _suffix(path)
        if named is not None and suffix != ".npz":
            raise SourceError(f"{path}: array names are for .npz files only")
    return sorted(found.items(), key=lambda item: str(item[0]))


def raw_batches(
    source: str | Path | ArraySource, rows: int, wanted: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Consecutive rows of a source file with its columns as they are stored.

    CSV columns are all strings, empty where the cell is. Parquet columns have their Arrow
    type. NPZ arrays are columns of their own type if 1-d, and otherwise fixed shape tensors
    of uint8 or float32.

    Args:
        source: The file; with array names for an NPZ file whose arrays are not named as its
            columns.
        rows: Rows in each batch but the last.
        wanted: Columns to read, all by default.

    Yields:
        Tables of ``rows`` rows, the last of them with fewer.

    Raises:
        SourceError: The file is missing, empty, cut off, corrupt or of an unknown format, or
            lacks a wanted column.
    """
    from shoal.sources import arrays, delimited, parquet

    named = source if isinstance(source, ArraySource) else None
    path = _existing(named.path if named else str(source))
    suffix = _suffix(path)
    if path.stat().st_size == 0:
        raise SourceError(f"{path}: the file is empty (0 bytes)")
    if suffix == ".npz":
        file: _Opened = arrays.NpzFile(path, named.arrays if named else None)
    elif suffix == ".parquet":
        file = parquet.ParquetSource(path)
    else:
        file = delimited.CsvFile(path)
    yield from _checked(file, path, rows, wanted)


def _checked(
    file: _Opened, path: Path, rows: int, wanted: Sequence[str] | None
) -> Iterator[pa.Table]:
    """Batches of equal size of an opened file whose columns are in order."""
    from shoal.tables import FOLD, KEY

    for name in file.names:
        if name in (KEY, FOLD):
            raise SourceError(f"{path}: column {name!r} has a name that Shoal uses; rename it")
        if not name:
            place = file.names.index(name) + 1
            raise SourceError(f"{path}: column {place} has no name; name it or remove it")
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
    """Files that a path or glob names."""
    is_glob = any(character in pattern for character in _GLOB_CHARACTERS)
    literal = Path(pattern).expanduser()
    if literal.exists() or not is_glob:
        return [_existing(pattern)]
    found = [Path(name) for name in sorted(glob.glob(str(literal), recursive=True))]  # noqa: PTH207 - Path.glob takes no absolute pattern
    files = [path for path in found if path.is_file()]
    if not files:
        raise SourceError(f"{pattern}: no file matches")
    return files


def _existing(name: str) -> Path:
    """Path of a file that is there."""
    path = Path(name).expanduser()
    if path.is_dir():
        raise SourceError(f"{name}: is a folder; name its files, such as {path / '*.parquet'}")
    if not path.exists():
        raise SourceError(f"{name}: no such file")
    return path


def _suffix(path: Path) -> str:
    """What tells a file's format."""
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            return suffix
    raise SourceError(f"{path}: unknown format; source files end in {', '.join(SUFFIXES)}")
