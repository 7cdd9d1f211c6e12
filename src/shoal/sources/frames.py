"""Rows of the user's own, in a data frame or an Arrow table, as raw columns."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from shoal.errors import SourceError, nearest
from shoal.sources.canonical import canonical_text

if TYPE_CHECKING:
    import pandas as pd

    from shoal.tables import Columns

_SCALARS = (str, bool, int, float, np.bool_, np.integer, np.floating, Decimal, date)


def raw_table(rows: pd.DataFrame | pa.Table, columns: Columns, source: str) -> pa.Table:
    """The columns of a frame that are known, as a source file would give them.

    The index of a data frame is no column, unless it has the name of a known one.

    Args:
        rows: The rows; an Arrow table is given back as it is.
        columns: The frozen columns.
        source: What messages call the rows.

    Raises:
        SourceError: An input is missing, or a column is there twice or holds values that no source
            file could.
    """
    if isinstance(rows, pa.Table):
        return rows
    known = [name for name, kind in columns.kinds.items() if kind != "ignore"]
    levels = [level for level in rows.index.names if level in known and level not in rows.columns]
    frame = rows.reset_index(level=levels) if levels else rows
    names = [str(name) for name in frame.columns]
    taken = [name for name in known if name in names]
    for name in columns.inputs:
        if name not in names:
            raise SourceError(f"{source}: has no column {name!r}; {nearest(name, names)}")
    check_single(names, taken, source)
    return pa.table(
        {name: _column(frame.iloc[:, names.index(name)], name, source) for name in taken}
    )


def check_single(names: list[str], taken: list[str], source: str) -> None:
    """Refuse columns that are there twice: which one is meant is not known.

    Raises:
        SourceError: One of those taken is.
    """
    for name in taken:
        if names.count(name) > 1:
            raise SourceError(f"{source}: column {name!r} is there {names.count(name)} times")


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
