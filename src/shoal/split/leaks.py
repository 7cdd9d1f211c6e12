"""What would let a model answer held-out rows without having learnt anything: three kinds of leak.

- Held-out rows whose inputs an earlier fold has as well, exactly.
- Held-out rows with a training row beside them that is far nearer than chance explains.
- A column that alone gives the label, on rows that nothing was fitted on.

Such rows and columns may be rightful, so they are counted and named, never refused.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from shoal.formats import tables
from shoal.formats.tables import OUTSIDE, TEST, TRAIN, VALIDATION
from shoal.split.likeness import LEAST_ROWS, near_rows, vectors, widest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from shoal.formats.tables import Columns, Table

_BATCH_ROWS = 8192
_MOST_TRAINING, _MOST_VALIDATION, _MOST_COMPARED = 10_000, 5_000, 2_000
_MOST_NUMBERS = 1 << 25
"""Numbers in the vectors of the training rows, at most: 128 MiB."""
DETERMINES = 0.95
"""Share of the constant answer's error that a column must take away to be named."""
_LEAST_ERRORS = 10
"""Validation rows that the constant answer must get wrong for a share of them to mean anything."""
_LEAF_ROWS = 5


def repeated_inputs(inputs: NDArray[np.bytes_], folds: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which rows of validation and test have inputs that an earlier fold has as well.

    Args:
        inputs: Hash of each row's inputs.
        folds: Fold of each row; rows outside every fold count for nothing.
    """
    order = np.lexsort((folds, inputs))
    starts = np.append(True, inputs[order][1:] != inputs[order][:-1])
    first = folds[order][np.flatnonzero(starts)][np.cumsum(starts) - 1]
    repeated = np.empty(len(folds), dtype=bool)
    repeated[order] = (folds[order] > first) & (folds[order] != OUTSIDE)
    return repeated


def find_leaks(
    opened: Sequence[Table],
    columns: Columns,
    keys: NDArray[np.bytes_],
    folds: NDArray[np.uint8],
    repeated: NDArray[np.bool_],
) -> dict[str, Any]:
    """All three kinds, the last two on a sample of bounded size that keys alone decide.

    Args:
        opened: The split tables.
        columns: The frozen columns.
        keys: Key of each row, in the tables' order.
        folds: Its fold.
        repeated: What :func:`repeated_inputs` gave.

    Returns:
        ``exact`` and ``near``: ``rows`` among ``of`` held-out rows that were looked at, and for
        ``near`` how many were to be expected ``by_chance``;
        ``columns``: those that give the label, each with ``column``, ``score`` and ``constant``
        (accuracy on validation rows, or R² and 0), the most telling first.
    """
    held_out = (folds == VALIDATION) | (folds == TEST)
    share = min(1.0, _MOST_NUMBERS / (widest(columns) * _MOST_TRAINING))

    def smallest(rows: NDArray[np.bool_], most: int) -> NDArray[np.int64]:
        """Rows with the smallest keys: keys are hashes, so this is a sample by chance."""
        places = np.flatnonzero(rows)
        return places[np.argsort(keys[places], kind="stable")[: math.ceil(share * most)]]

    training = smallest(folds == TRAIN, _MOST_TRAINING)
    validation = smallest(folds == VALIDATION, _MOST_VALIDATION)
    compared = smallest(held_out & ~repeated, _MOST_COMPARED)
    chosen = np.unique(np.concatenate([training, validation, compared]))
    sample = _read(opened, chosen, [*columns.inputs, columns.label])

    def rows_of(places: NDArray[np.int64]) -> pa.Table:
        return sample.take(np.searchsorted(chosen, np.sort(places)))

    train = rows_of(training)
    near, by_chance = 0, 0.0
    if columns.inputs and min(len(training), len(compared)) >= LEAST_ROWS:
        near, by_chance = near_rows(*vectors(train, rows_of(compared), columns))
    return {
        "exact": {"rows": int(repeated.sum()), "of": int(held_out.sum())},
        "near": {"rows": near, "by_chance": by_chance, "of": len(compared)},
        "columns": telling_columns(train, rows_of(validation), columns),
    }


def _read(opened: Sequence[Table], rows: NDArray[np.int64], names: list[str]) -> pa.Table:
    """Some rows, ascending, counted over all tables."""

    def parts() -> Iterator[pa.Table]:
        start = 0
        for table in opened:
            end = start + table.rows
            if ((start <= rows) & (rows < end)).any():
                for batch in table.batches(_BATCH_ROWS, names):
                    inside = (start <= rows) & (rows < start + len(batch))
                    yield batch.take(rows[inside] - start)
                    start += len(batch)
            start = end

    return pa.concat_tables(parts())


def telling_columns(train: pa.Table, held_out: pa.Table, columns: Columns) -> list[dict[str, Any]]:
    """Columns that alone give the label of rows that they were not fitted on.

    Each column gets a decision tree of its own, fitted on training rows, texts by their place in
    the alphabet. A number that differs from row to row, such as a row's number, gives nothing for
    other rows, unless rows are in the order of their labels, which is a leak. Images are left out,
    and so is the only input there is: that it gives the label is what everybody hopes for.

    Args:
        train: Training rows.
        held_out: Validation rows.
        columns: The frozen columns.
    """
    if len(columns.inputs) < 2 or len(train) < 2 * _LEAF_ROWS or not len(held_out):
        return []
    found = []
    for name in columns.of_kind("numeric", "categorical", "text"):
        score, constant, enough = _alone(train, held_out, name, columns)
        if enough and score - constant >= DETERMINES * (1 - constant):
            found.append({"column": name, "score": score, "constant": constant})
    return sorted(found, key=lambda each: (-each["score"], each["column"]))


def _alone(
    train: pa.Table, held_out: pa.Table, name: str, columns: Columns
) -> tuple[float, float, bool]:
    """Score of one column, of the constant answer, and whether there are rows enough to tell."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    x, x_held = _as_numbers(train, held_out, name, columns)
    if columns.task == "regression":
        numbers, wanted = (tables.numbers(part, columns.label) for part in (train, held_out))
        tree = DecisionTreeRegressor(min_samples_leaf=_LEAF_ROWS, random_state=0).fit(x, numbers)
        spread = float(np.mean((wanted - numbers.mean()) ** 2))
        error = float(np.mean((wanted - tree.predict(x_held)) ** 2))
        enough = len(wanted) >= _LEAST_ERRORS and spread > 0
        return (1 - error / spread if enough else 0.0), 0.0, enough
    y, y_held = (tables.texts(part, columns.label) for part in (train, held_out))
    tree = DecisionTreeClassifier(min_samples_leaf=_LEAF_ROWS, random_state=0).fit(x, y)
    names, counts = np.unique(y, return_counts=True)
    constant = y_held == names[counts.argmax()]
    score = float(np.mean(tree.predict(x_held) == y_held))
    return score, float(constant.mean()), int((~constant).sum()) >= _LEAST_ERRORS


def _as_numbers(
    train: pa.Table, held_out: pa.Table, name: str, columns: Columns
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A column as the trees take it, ``(rows, 1)``: NaN where missing."""
    if columns.kinds[name] == "numeric":
        return tables.numbers(train, name)[:, None], tables.numbers(held_out, name)[:, None]
    values = tables.texts(train, name)
    known = np.unique(np.array([value for value in values if value is not None], dtype=str))

    def places(values: NDArray[Any]) -> NDArray[np.float64]:
        missing = np.array([value is None for value in values], dtype=bool)
        # A value between two known ones lies between their places.
        texts = np.array(tables.without_gaps(values), dtype=str)
        left, right = (np.searchsorted(known, texts, side=side) for side in ("left", "right"))
        return np.where(missing, np.nan, (left + right) / 2)[:, None]

    return places(values), places(tables.texts(held_out, name))
