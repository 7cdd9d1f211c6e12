"""Data frames and Arrow tables of the user as raw columns."""

from __future__ import annotations

import math
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from shoal.errors import SourceError, nearest
from shoal.formats.tables import ARRAY_KINDS, image_array
from shoal.sources.columns import check_single, needed
from shoal_edge.canonical import canonical_text

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from shoal.formats.tables import Columns

_SCALARS = (str, bool, int, float, np.bool_, np.integer, np.floating, Decimal, date)


def raw_table(rows: pd.DataFrame | pa.Table, columns: Columns, source: str) -> pa.Table:
    """Known columns of a frame, as a source file would give them.

    The index of a data frame is no column, unless it has the name of a known one. Cells of image
    and vector columns may be arrays or lists, flat or nested as the column's arrays are, or
    encoded pictures.

    Args:
        rows: The rows; an Arrow table is given back as it is.
        columns: The frozen columns.
        source: What messages call the rows.

    Raises:
        SourceError: It is neither a frame nor a table, an input is missing, or a column is there
            twice or holds values that no source file could.
    """
    if isinstance(rows, pa.Table):
        return rows
    if not hasattr(rows, "reset_index"):
        raise SourceError(
            f"{source}: is of type {type(rows).__name__}; give a pandas DataFrame or a pyarrow "
            f"Table"
        )
    known = needed(columns)
    levels = [level for level in rows.index.names if level in known and level not in rows.columns]
    frame = rows.reset_index(level=levels) if levels else rows
    names = [str(name) for name in frame.columns]
    taken = [name for name in known if name in names]
    for name in columns.inputs:
        if name not in names:
            raise SourceError(f"{source}: has no column {name!r}; {nearest(name, names)}")
    check_single(names, taken, source)
    series = {name: frame.iloc[:, names.index(name)] for name in taken}
    return pa.table(
        {
            name: _arrays(values.tolist(), columns.image_shapes[name], name, source)
            if columns.kinds[name] in ARRAY_KINDS and _holds_lists(values)
            else _column(values, name, source)
            for name, values in series.items()
        }
    )


def _holds_lists(values: pd.Series) -> bool:
    return len(values) > 0 and isinstance(values.iloc[0], np.ndarray | list | tuple)


def _arrays(cells: list[Any], shape: list[int], name: str, source: str) -> pa.Array:
    """A column of arrays, flat or of their own shape."""
    wanted, arrays = (tuple(shape), (math.prod(shape),)), []
    for row, cell in enumerate(cells, start=1):
        array = _array(cell)
        is_numeric = array.dtype.kind in "biuf"
        if array.shape not in wanted or not is_numeric:
            held = f"an array of shape {array.shape}" if is_numeric else repr(cell)[:80]
            raise SourceError(
                f"{source}: row {row}, column {name!r}: {held} is no array of numbers of shape "
                f"{wanted[0]}, nor a flat one"
            )
        arrays.append(array.reshape(shape))
    stacked = np.stack(arrays)
    return image_array(stacked.astype(np.uint8) if stacked.dtype == bool else stacked)


def _array(cell: Any) -> NDArray[Any]:  # noqa: ANN401 - whatever a cell holds
    """A cell as an array, empty where it is none; pandas nests arrays in arrays of objects."""
    try:
        array = np.asarray(cell)
        return np.asarray(array.tolist()) if array.dtype == object else array
    except ValueError:  # lists of several lengths
        return np.empty(0, dtype=object)


def _column(values: pd.Series, name: str, source: str) -> pa.Array | pa.ChunkedArray:
    """A column with Arrow's type for it; one of mixed types as texts, as in a CSV file."""
    import pandas as pd

    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        cells = [None if cell is pd.NA else cell for cell in values.tolist()]
        if all(cell is None or isinstance(cell, _SCALARS) for cell in cells):
            return pa.array([canonical_text(cell) for cell in cells], pa.string())
        message = str(error).splitlines()[0]
        raise SourceError(
            f"{source}: column {name!r} holds values that are neither numbers, text nor times "
            f"({message})"
        ) from None
