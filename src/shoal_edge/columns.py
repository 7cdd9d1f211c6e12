"""Columns of rows to predict, typed as :mod:`shoal.sources.columns` types them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal_edge.canonical import FALSE, MISSING, NUMBER, TRUE, canonical_text
from shoal_edge.errors import EdgeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_number = re.compile(NUMBER, re.ASCII)
_NUMBERS = (bool, int, float, Decimal, np.bool_, np.integer, np.floating)
_TEXTS = (str, date, *_NUMBERS, type(None))
_SHORT = ("float16", "float32")


@dataclass(frozen=True)
class Source:
    """Where rows come from, for messages.

    Attributes:
        name: The file, or ``input``.
        first_row: Row there of the first of them, from 1.
    """

    name: str
    first_row: int = 1

    def error(self, row: int, column: str, problem: str) -> EdgeError:
        """An error about one value, in a row from 0."""
        place = f"{self.name}: row {self.first_row + int(row)}, column {column!r}"
        return EdgeError(f"{place}: {problem}")


def column_of(rows: Mapping[str, Any], name: str, source: Source) -> NDArray[Any]:
    """A column's cells as they are, ``(rows,)``.

    Raises:
        EdgeError: There is no such column, or cells are more than one value each.
    """
    try:
        values = rows[name]
    except KeyError:
        given = ", ".join(map(repr, list(rows)[:20]))
        raise EdgeError(f"{source.name}: has no column {name!r} among {given}") from None
    if isinstance(values, list | tuple):
        cells: NDArray[Any] = np.empty(len(values), object)
        cells[:] = values
    else:
        cells = np.asarray(values)
    if cells.dtype.kind == "M":
        missing = np.isnat(cells)
        cells = np.datetime_as_string(cells).astype(object)
        cells[missing] = None
    if cells.ndim != 1:
        raise EdgeError(f"{source.name}: column {name!r} holds arrays; give encoded rows")
    return cells


def numbers(cells: NDArray[Any], column: str, source: Source) -> Floats:
    """Finite float64 ``(rows,)``, NaN where missing; truth values are 1 and 0.

    A float of fewer bits is the number that its digits say.

    Raises:
        EdgeError: A value is no number, or infinite.
    """
    if cells.dtype.kind in "biuf" and cells.dtype.name not in _SHORT:
        found = cells.astype(np.float64)
    else:
        found = np.empty(len(cells))
        for row, cell in enumerate(cells):
            value = _value(cell)
            if value is None:
                raise source.error(
                    row, column, f"{cell!r} is not a number, but the column's kind is"
                )
            found[row] = value
    infinite = np.flatnonzero(np.isinf(found))
    if len(infinite):
        raise source.error(infinite[0], column, f"{cells[infinite[0]]!r} is infinite")
    return found


def _value(cell: Any) -> float | None:  # noqa: ANN401 - whatever a cell holds
    """The number of a cell, NaN where it is missing; None where it is not a number."""
    if cell is None:
        return float("nan")
    if isinstance(cell, str):
        text = cell.strip()
        if text in MISSING:
            return float("nan")
        if text in TRUE or text in FALSE:
            return float(text in TRUE)
        return float(text) if _number.match(text) else None
    is_number = isinstance(cell, _NUMBERS)
    return float(str(cell) if isinstance(cell, np.floating) else cell) if is_number else None


def texts(
    cells: NDArray[Any], column: str, source: Source, *, as_written: bool = False
) -> NDArray[Any]:
    """Canonical texts (:mod:`shoal_edge.canonical`), objects ``(rows,)``; None where missing.

    Args:
        cells: Strings, numbers, truth values or times.
        column: Name of the column.
        source: Where it lies.
        as_written: Whether strings stay to the letter, as free text does.

    Raises:
        EdgeError: A cell is something else.
    """
    known: dict[tuple[type, Any], str | None] = {}
    found: NDArray[Any] = np.empty(len(cells), object)
    for row, cell in enumerate(cells):
        if not isinstance(cell, _TEXTS):
            raise source.error(row, column, f"{cell!r:.80} is neither text, number nor time")
        key = type(cell), cell
        if key not in known:
            known[key] = _text(cell, as_written=as_written)
        found[row] = known[key]
    return found


def _text(cell: Any, *, as_written: bool) -> str | None:  # noqa: ANN401 - the same
    if isinstance(cell, str):
        if cell in MISSING:
            return None
        return str(cell) if as_written else canonical_text(str(cell))
    return canonical_text(cell)
