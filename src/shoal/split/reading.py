"""Source files to typed, keyed rows, batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from shoal import tables
from shoal.errors import SourceError
from shoal.settings.data import ArraySource
from shoal.sources import values
from shoal.sources.columns import label_is_missing, needed, typed
from shoal.sources.readers import raw_batches
from shoal.split.folds import Basis
from shoal.split.keys import row_keys

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

    from shoal.settings.data import Split
    from shoal.tables import Columns

    Source = str | Path | ArraySource


@dataclass(frozen=True)
class Batch:
    """Consecutive rows of a source file.

    Attributes:
        table: The typed rows.
        basis: Their keys and what else decides their folds.
    """

    table: pa.Table
    basis: Basis


def source_name(source: Source) -> str:
    """A source file in messages."""
    return source.path if isinstance(source, ArraySource) else str(source)


def read_rows(source: Source, columns: Columns, split: Split, batch_rows: int) -> Iterator[Batch]:
    """Typed, keyed rows of one source file.

    Args:
        source: The file.
        columns: The frozen columns.
        split: What decides folds: which columns are read for that.
        batch_rows: Rows read at a time.

    Raises:
        SourceError: The file cannot be read, a value does not fit its column, or rows lack
            their label.
    """
    name = source_name(source)
    wanted = needed(columns)
    fold_column = split.column if split.method == "column" else None
    if fold_column is not None:
        wanted.append(fold_column)
    first_row = 1
    for raw in raw_batches(source, batch_rows, wanted):
        table = typed(raw, columns, name, first_row)
        missing = label_is_missing(table, columns)
        if missing is not None:
            raise _missing_label(source, columns.label, first_row + missing, batch_rows)
        group, time = columns.of_kind("group"), columns.of_kind("time")
        named = None
        if fold_column is not None:
            place = values.Place(name, first_row, fold_column)
            strings = values.text(values.plain(raw[fold_column]), place)
            named = np.asarray(strings.to_pylist(), dtype=object)
        basis = Basis(
            keys=row_keys(table, columns),
            source=name,
            first_row=first_row,
            groups=tables.texts(table, group[0]) if group else None,
            times=tables.numbers(table, time[0]) if time else None,
            named=named,
        )
        yield Batch(table, basis)
        first_row += len(raw)


def read_times(source: Source, columns: Columns, batch_rows: int) -> Iterator[Basis]:
    """Times of one source file, without keys."""
    (column,) = columns.of_kind("time")
    first_row = 1
    for raw in raw_batches(source, batch_rows, [column]):
        times = typed(raw, columns, source_name(source), first_row, [column])
        keys = np.empty((len(raw), 0), dtype=np.uint8)
        yield Basis(keys, source_name(source), first_row, times=tables.numbers(times, column))
        first_row += len(raw)


def _missing_label(source: Source, label: str, row: int, batch_rows: int) -> SourceError:
    """An error that counts the rows of the file that lack their label."""
    name = source_name(source)
    lacking = 0
    for raw in raw_batches(source, batch_rows, [label]):
        place = values.Place(name, 1, label)
        strings = values.text(values.plain(raw[label]), place)
        lacking += int(pc.sum(strings.is_null()).as_py())
    return SourceError(
        f"{name}: row {row}, column {label!r}: the label is missing, as it is in {lacking} rows "
        f"of this file; fill it in or remove these rows"
    )
