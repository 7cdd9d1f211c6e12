"""Source files to typed, keyed rows, batch by batch."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from shoal.errors import SourceError
from shoal.formats import tables
from shoal.settings.data import ArraySource
from shoal.sources.columns import Place, label_is_missing, needed, plain, text, typed
from shoal.sources.readers import SourceFile, opened, raw_batches
from shoal.sources.shards import is_of_shard
from shoal.split.folds import Basis
from shoal.split.keys import row_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from shoal.formats.tables import Columns
    from shoal.settings.data import Split


@dataclass(frozen=True)
class KeyedRows:
    """Consecutive rows of a source file.

    Attributes:
        table: The typed rows.
        basis: Their keys and what else decides their folds.
    """

    table: pa.Table
    basis: Basis


@dataclass(frozen=True)
class Planned:
    """A source file of the plan.

    Attributes:
        source: The file, with array names where it is an NPZ file that needs them.
        shard: Its shard, by whose name it has a content; None if that is not known.
    """

    source: str | Path | ArraySource
    shard: str | None = None

    @property
    def name(self) -> str:
        """The file in messages."""
        return self.source.path if isinstance(self.source, ArraySource) else str(self.source)

    @contextmanager
    def opened(self) -> Iterator[SourceFile]:
        """The open file.

        Raises:
            SourceError: It cannot be opened; or at the end, it changed or is not its shard's.
        """
        with opened(self.source, None if self.shard is None else self._is_own) as file:
            yield file

    def _is_own(self, content: str) -> bool:
        arrays = self.source if isinstance(self.source, ArraySource) else None
        return is_of_shard(str(self.shard), Path(self.name), content, arrays)


def read_rows(
    planned: Planned, columns: Columns, split: Split, batch_rows: int
) -> Iterator[KeyedRows]:
    """Typed, keyed rows of one source file.

    Args:
        planned: The file.
        columns: The frozen columns.
        split: What decides folds: which columns are read for that.
        batch_rows: Rows read at a time.

    Raises:
        SourceError: The file cannot be read, a value does not fit its column, rows lack their
            label, or the file is not what its shard says.
    """
    with planned.opened() as file:
        yield from _read_rows(file, planned.name, columns, split, batch_rows)


def _read_rows(
    file: SourceFile, name: str, columns: Columns, split: Split, batch_rows: int
) -> Iterator[KeyedRows]:
    wanted = needed(columns)
    fold_column = split.column if split.method == "column" else None
    if fold_column is not None:
        wanted.append(fold_column)
    first_row = 1
    for raw in raw_batches(file, batch_rows, wanted):
        table = typed(raw, columns, name, first_row)
        for label in columns.labels:
            missing = label_is_missing(table, label)
            if missing is not None:
                raise _missing_label(file, label, first_row + missing, batch_rows)
        group, time = columns.of_kind("group"), columns.of_kind("time")
        named = None
        if fold_column is not None:
            place = Place(name, first_row, fold_column)
            strings = text(plain(raw[fold_column]), place)
            named = np.asarray(strings.to_pylist(), dtype=object)
        basis = Basis(
            keys=row_keys(table, columns),
            source=name,
            first_row=first_row,
            groups=tables.texts(table, group[0]) if group else None,
            times=tables.numbers(table, time[0]) if time else None,
            named=named,
        )
        yield KeyedRows(table, basis)
        first_row += len(raw)


def read_times(planned: Planned, columns: Columns, batch_rows: int) -> Iterator[Basis]:
    """Times of one source file, without keys."""
    (column,) = columns.of_kind("time")
    first_row = 1
    with planned.opened() as file:
        for raw in raw_batches(file, batch_rows, [column]):
            times = typed(raw, columns, planned.name, first_row, [column])
            keys = np.empty((len(raw), 0), dtype=np.uint8)
            yield Basis(keys, planned.name, first_row, times=tables.numbers(times, column))
            first_row += len(raw)


def _missing_label(file: SourceFile, label: str, row: int, batch_rows: int) -> SourceError:
    """An error that counts the rows of the file that lack their label."""
    name = str(file.path)
    lacking = 0
    for raw in raw_batches(file, batch_rows, [label]):
        place = Place(name, 1, label)
        strings = text(plain(raw[label]), place)
        lacking += int(pc.sum(strings.is_null()).as_py())
    return SourceError(
        f"{name}: row {row}, column {label!r}: the label is missing, as it is in {lacking} rows "
        f"of this file; fill it in or remove these rows"
    )
