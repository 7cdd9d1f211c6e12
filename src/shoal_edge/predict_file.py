"""Predictions for the rows of a file."""

from __future__ import annotations

import csv
import itertools
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal_edge.errors import EdgeError
from shoal_edge.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shoal_edge.pool import Predicted
    from shoal_edge.report import Log

_ROWS = 8192
"""Rows at a time."""


def predict_file(pool: Path, rows: Path, out: Path, log: Path | None = None) -> int:
    """Write predictions for the rows of a file, in their order.

    Args:
        pool: The pool's folder.
        rows: A CSV file with the pool's columns, or a ``.npy`` file of encoded rows.
        out: The CSV file; it is there when it is whole.
        log: Folder to which a report of the rows is added.

    Returns:
        How many rows there are.

    Raises:
        EdgeError: The pool or the rows cannot be used.
    """
    if out.suffix != ".csv":
        raise EdgeError(f"{out}: write to a .csv file")
    loaded = Pool.load(pool)
    counted = None if log is None else loaded.log()
    aside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with aside.open("x", encoding="utf-8", newline="") as file:
            count = 0
            for part in _predicted(loaded, rows, counted):
                if not count:
                    csv.writer(file).writerow(_names(part))
                csv.writer(file).writerows(_cells(part))
                count += len(part.partition)
        if log is not None and counted is not None:
            counted.write(log)
        aside.replace(out)
    finally:
        aside.unlink(missing_ok=True)
    return count


def _predicted(pool: Pool, rows: Path, log: Log | None) -> Iterator[Predicted]:
    """Predictions, some rows at a time; once at least."""
    if rows.suffix == ".npy":
        try:
            x = np.load(rows, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise EdgeError(f"{rows}: not an array ({error})") from None
        for start in range(0, max(1, len(x)), _ROWS):
            yield pool.predict_encoded(np.asarray(x[start : start + _ROWS]), log=log)
        return
    if rows.suffix != ".csv":
        raise EdgeError(f"{rows}: give a .csv file, or encoded rows as a .npy file")
    for first, columns in _read_csv(rows):
        yield pool.predict(columns, source=str(rows), first_row=first, log=log)


def _read_csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number of the first row, and columns of some rows; once at least."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = filter(None, csv.reader(file, strict=True))
            names = next(lines, None)
            if names is None:
                raise EdgeError(f"{path}: is empty")
            for name in names:
                if names.count(name) > 1:
                    raise EdgeError(f"{path}: column {name!r} is there {names.count(name)} times")
            first = 1
            while (some := list(itertools.islice(lines, _ROWS))) or first == 1:
                for row, cells in enumerate(some, first):
                    if len(cells) != len(names):
                        raise EdgeError(
                            f"{path}: row {row} has {len(cells)} cells, but there are "
                            f"{len(names)} columns"
                        )
                yield first, {name: [row[at] for row in some] for at, name in enumerate(names)}
                if not some:
                    return
                first += len(some)
    except (csv.Error, UnicodeDecodeError) as error:
        raise EdgeError(f"{path}: not readable as CSV ({error})") from None


def _names(part: Predicted) -> list[str]:
    return [name for name, values in part._asdict().items() if values is not None]


def _cells(part: Predicted) -> Iterator[tuple[str, ...]]:
    """Cells of each row: the shortest digits that tell a number."""
    columns = [[str(cell) for cell in values] for values in part if values is not None]
    return zip(*columns, strict=True)
