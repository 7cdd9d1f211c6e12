"""Answers of queries as text: a table for people, CSV or JSON for programs."""

from __future__ import annotations

import csv
import json
import math
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

    from shoal.explore.query.database import Answer


def write_csv(answer: Answer) -> None:
    """Write an answer to standard output as CSV; null is empty."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(answer.columns)
    writer.writerows([_cell(value) for value in row] for row in answer.rows)


def as_json(answer: Answer) -> str:
    """An answer as a JSON list of objects; numbers that are not finite are null."""
    rows = [
        {name: _plain(value) for name, value in zip(answer.columns, row, strict=True)}
        for row in answer.rows
    ]
    return json.dumps(rows, indent=1, allow_nan=False)


def table(answer: Answer) -> RenderableType:
    """An answer for people."""
    from rich.box import SIMPLE
    from rich.table import Table

    shown = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    rows = list(answer.rows)
    for place, name in enumerate(answer.columns):
        numbers = any(isinstance(row[place], int | float) for row in rows)
        shown.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(_shown(value) for value in row))
    return shown


def tables() -> RenderableType:
    """All tables: the meaning of a row, and the columns."""
    from rich.box import SIMPLE
    from rich.table import Table

    from shoal.explore.query.tables import TABLES

    shown = Table("table", "a row is", "columns", box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for name, each in TABLES.items():
        shown.add_row(name, each.about.replace("`", ""), ", ".join(each.columns))
    return shown


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever DuckDB gives
    """A value as JSON has it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    return value.hex() if isinstance(value, bytes) else str(value)


def _cell(value: Any) -> Any:  # noqa: ANN401 - the same
    plain = _plain(value)
    return json.dumps(plain) if isinstance(plain, list | dict | bool) else plain


def _shown(value: Any) -> str:  # noqa: ANN401 - the same
    from rich.markup import escape

    if isinstance(value, float):
        return f"{value:,.4g}"
    cell = _cell(value)
    return "" if cell is None else escape(str(cell))
