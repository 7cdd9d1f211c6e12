"""An existing column as the partition."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.cluster.assigner import ColumnAssigner, value_text
from shoal.errors import DataError, SettingsError, nearest
from shoal.formats.hashing import KEY_BYTES
from shoal.formats.tables import FOLD, KEY, RESERVED, TRAIN, Table, folds, keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

_BATCH_ROWS = 65536


def fit_column(column: str, tables: Iterable[Table], max_partitions: int) -> ColumnAssigner:
    """One partition for each value that the column has in the training fold.

    Args:
        column: Name of the column.
        tables: Transformed tables.
        max_partitions: Most values accepted.

    Returns:
        The assigner; partition 0 is the value with the most rows, ties go by text.

    Raises:
        SettingsError: There is no such column, or it holds images.
        DataError: The column is empty in the training fold, or has too many values.
    """
    counts: Counter[str] = Counter()
    for table in tables:
        for batch in column_batches(table, column):
            training = folds(batch) == TRAIN
            values = np.array(batch[column].to_pylist(), dtype=object)[training]
            counts.update(text for text in map(value_text, values) if text is not None)
        if len(counts) > max_partitions:
            raise DataError(
                f"{table.path}: column {column!r} has more than {max_partitions} values; raise "
                f"cluster.max_partitions or choose a column with fewer"
            )
    if not counts:
        raise DataError(f"column {column!r} has no value in the training fold; choose another one")
    ordered = sorted(counts, key=lambda value: (-counts[value], value))
    rows = np.array([counts[value] for value in ordered], dtype=np.int64)
    return ColumnAssigner(column, ordered, rows)


def column_values(table: Table, column: str) -> tuple[list[Any], NDArray[np.uint8]]:
    """All values of a column, and the keys of their rows, uint8 ``(rows, KEY_BYTES)``."""
    values: list[Any] = []
    parts = [np.empty((0, KEY_BYTES), dtype=np.uint8)]
    for batch in column_batches(table, column):
        values += batch[column].to_pylist()
        parts.append(keys(batch))
    return values, np.concatenate(parts)


def column_batches(table: Table, column: str) -> Iterator[pa.Table]:
    """Batches of a table with the column, the key and the fold.

    Raises:
        SettingsError: There is no such column, or it holds images.
    """
    import pyarrow as pa

    known = [name for name in table.schema.names if name not in RESERVED]
    if column not in known:
        raise SettingsError(
            f"cluster.column: {table.path} has no column {column!r}; {nearest(column, known)}"
        )
    if isinstance(table.schema.field(column).type, pa.FixedShapeTensorType):
        raise SettingsError(f"cluster.column: column {column!r} holds images, which have no groups")
    return table.batches(_BATCH_ROWS, [column, KEY, FOLD])
