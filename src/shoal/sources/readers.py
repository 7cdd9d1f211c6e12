"""Batches of raw columns from a source file, in bounded memory."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING

from shoal.errors import SourceError, nearest
from shoal.settings.data import ArraySource
from shoal.sources.opened import SourceFile, existing, opened

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa

    from shoal.sources import arrays, delimited, parquet

    _Opened = arrays.NpzFile | parquet.ParquetSource | delimited.CsvFile

SUFFIXES = (".csv", ".csv.gz", ".parquet", ".npz")
_GLOB_CHARACTERS = "*?["
_MOST_NAMED = 5
"""Names in one error."""


def expand(files: Sequence[str | ArraySource]) -> list[tuple[Path, ArraySource | None]]:
    """Source files that paths and globs name, sorted by path, each once.

    Args:
        files: Paths or globs of CSV, Parquet or NPZ files, or NPZ files with array names.

    Returns:
        Each file with its array names, where it has such.

    Raises:
        SourceError: A file is missing or of an unknown format, a glob matches nothing, or it
            matches a folder or a link to nothing, whose rows would be missing without a word.
    """
    found: dict[Path, ArraySource | None] = {}
    unusable: list[str] = []
    for entry in files:
        if isinstance(entry, ArraySource):
            found[existing(entry.path)] = entry
            continue
        for path in _matches(entry):
            try:
                found.setdefault(existing(str(path)), None)
            except SourceError as error:
                unusable.append(str(error))
    if unusable:
        more = f"; and {len(unusable) - _MOST_NAMED} more" if len(unusable) > _MOST_NAMED else ""
        raise SourceError("; ".join(unusable[:_MOST_NAMED]) + more)
    if not found:
        raise SourceError("sources.files: names no file")
    for path, named in found.items():
        suffix = _suffix(path)
        if named is not None and suffix != ".npz":
            raise SourceError(f"{path}: array names are for .npz files only")
    return sorted(found.items(), key=lambda item: str(item[0]))


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


def _by_format(file: SourceFile) -> _Opened:
    """The reader of a file's format, its columns known."""
    from shoal.sources import arrays, delimited, parquet

    suffix = _suffix(file.path)
    if suffix == ".npz":
        return arrays.NpzFile(file)
    return parquet.ParquetSource(file) if suffix == ".parquet" else delimited.CsvFile(file)


def _checked(
    file: _Opened, path: Path, rows: int, wanted: Sequence[str] | None
) -> Iterator[pa.Table]:
    """Batches of equal size of an opened file whose columns are in order."""
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
    """All that a path or glob names: files, but also folders and links to nothing."""
    is_glob = any(character in pattern for character in _GLOB_CHARACTERS)
    literal = Path(pattern).expanduser()
    if literal.exists() or not is_glob:
        return [existing(pattern)]
    found = [Path(name) for name in sorted(glob.glob(str(literal), recursive=True))]  # noqa: PTH207 - Path.glob takes no absolute pattern
    if literal.name == "**":  # it matches the folders on the way to its files
        found = [path for path in found if not path.is_dir()]
    if not found:
        raise SourceError(f"{pattern}: no file matches")
    return found


def _suffix(path: Path) -> str:
    """What tells a file's format."""
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            return suffix
    raise SourceError(f"{path}: unknown format; source files end in {', '.join(SUFFIXES)}")
