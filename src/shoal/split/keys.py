"""Row keys: the identity of a row, never its position."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import DataError
from shoal.formats import tables
from shoal.formats.hashing import KEY_BYTES, hash_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from shoal.formats.tables import Columns

CONTENT_BYTES = 16


def row_keys(table: pa.Table, columns: Columns) -> NDArray[Any]:
    """Key of each row: a hash of its id, or of the content of its input columns.

    The label is no part of it, so that rows to predict have the keys they would have had.

    Args:
        table: Typed rows, the id among them if the columns have one.
        columns: The frozen columns.

    Returns:
        uint8 ``(rows, KEY_BYTES)``.

    Raises:
        DataError: There is neither an id nor an input column.
    """
    identity = [name for name in columns.of_kind("id") if name in table.schema.names]
    named = identity or columns.inputs
    if not named:
        raise DataError("there is no input column: every column is label, group or ignored")
    return _hashes(table, columns, named, KEY_BYTES)


def content_hashes(table: pa.Table, columns: Columns) -> NDArray[Any]:
    """Hash over all that a split table keeps of each row, label included; uint8 ``(rows, 16)``.

    It is ``_source``, or made from that, so that inputs are not hashed again.
    """
    sources, more = tables.keys(table, tables.SOURCE), columns.of_kind("group", "time")
    if not more:
        return sources
    others = {name: _array(table, columns, name) for name in more}
    return hash_rows({tables.SOURCE: sources, **others}, CONTENT_BYTES)


def input_hashes(table: pa.Table, columns: Columns) -> NDArray[Any]:
    """Hash over the input columns alone; uint8 ``(rows, 16)``."""
    return _hashes(table, columns, columns.inputs, CONTENT_BYTES)


def source_hashes(table: pa.Table, columns: Columns, keys: NDArray[Any]) -> NDArray[Any]:
    """Hash over all that a model is made from: inputs and labels; uint8 ``(rows, KEY_BYTES)``.

    Args:
        table: Typed rows.
        columns: The frozen columns.
        keys: Their keys, which are a hash of the inputs where no column is an id.
    """
    content = {
        f"label{n or ''}": _array(table, columns, name) for n, name in enumerate(columns.labels)
    }
    if columns.inputs:
        is_key = not columns.of_kind("id")
        content["inputs"] = keys if is_key else input_hashes(table, columns)
    return hash_rows(content, KEY_BYTES)


def value_hashes(values: NDArray[Any]) -> NDArray[Any]:
    """Hash of each of some strings; uint8 ``(rows, KEY_BYTES)``."""
    return hash_rows({"value": values}, KEY_BYTES)


def grouped_hashes(groups: NDArray[Any] | None, keys: NDArray[Any]) -> NDArray[Any]:
    """Hash of each row's group, the row's key where it has none; uint8 ``(rows, KEY_BYTES)``.

    Args:
        groups: Group of each row, None where missing; strings ``(rows,)``.
        keys: Row keys, uint8 ``(rows, KEY_BYTES)``.

    Raises:
        ValueError: There are no groups at all.
    """
    if groups is None:
        raise ValueError("rows by group need groups")
    grouped = np.array([group is not None for group in groups.tolist()], dtype=bool)
    return np.where(grouped[:, None], value_hashes(groups), keys)


def flat_keys(keys: NDArray[Any]) -> NDArray[np.bytes_]:
    """Keys as byte strings ``(rows,)``, which numpy orders; all are of one length."""
    return np.ascontiguousarray(keys).view(f"S{keys.shape[1]}").ravel()


def _hashes(
    table: pa.Table, columns: Columns, names: Sequence[str], digest_bytes: int
) -> NDArray[Any]:
    return hash_rows({name: _array(table, columns, name) for name in names}, digest_bytes)


def _array(table: pa.Table, columns: Columns, name: str) -> NDArray[Any] | pa.ChunkedArray:
    kind = columns.kinds[name]
    if kind in tables.ARRAY_KINDS:
        return tables.images(table, name)
    if columns.is_number(name):
        return tables.numbers(table, name)
    return table[name]
