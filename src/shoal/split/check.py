"""Checks of all rows together: duplicates, groups across folds, empty folds, a constant label.

Values of a column that differ only in case or blanks are counted too: most often they are one
value, spelled twice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from typing_extensions import TypedDict

from shoal.errors import DataError
from shoal.formats import tables
from shoal.formats.tables import FOLDS, OUTSIDE, TRAIN
from shoal.split.keys import content_hashes, flat_keys, input_hashes, value_hashes
from shoal.split.leaks import Leaks, find_leaks, repeated_inputs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from shoal.formats.tables import Columns, Table
    from shoal.settings.data import Split

MOST_VALUES = 20_000
"""Distinct values beyond which a column is not checked: most of them name single rows."""


class SpelledValue(TypedDict):
    """A value of a column and the rows that have it."""

    value: str
    rows: int


class Spelling(TypedDict):
    """A column with values that may be one.

    Attributes:
        spellings: Values that differ only in case or blanks, the most frequent first.
        others: Further values with several spellings.
    """

    column: str
    spellings: list[SpelledValue]
    others: int


class CheckResult(TypedDict):
    """Result of :func:`check`.

    Attributes:
        folds: Rows of each fold, and ``outside``.
        duplicates: Rows beyond the first of their content (``rows``) and of their key
            (``same_key``), and keys that are in more than one fold (``across_folds``).
    """

    rows: int
    folds: dict[str, int]
    duplicates: dict[str, int]
    leaks: Leaks
    spellings: list[Spelling]


class Spellings:
    """The distinct values of one column, with their rows."""

    def __init__(self, column: str) -> None:
        self.column = column
        self._rows: Counter[str] = Counter()
        self._too_many = False

    def add(self, values: pa.ChunkedArray) -> None:
        """Take some rows' values."""
        if self._too_many:
            return
        for count in pc.value_counts(values.combine_chunks()).to_pylist():
            if count["values"] is not None:
                self._rows[count["values"]] += count["counts"]
        if len(self._rows) > MOST_VALUES:
            self._too_many = True
            self._rows.clear()

    def ambiguous(self) -> Spelling | None:
        """The value with several spellings that has the most rows; None if no value has."""
        alike: dict[str, list[str]] = defaultdict(list)
        for value in self._rows:
            alike[" ".join(value.casefold().split())].append(value)
        groups = [
            sorted(group, key=lambda value: (-self._rows[value], value))
            for group in alike.values()
            if len(group) > 1
        ]
        if not groups:
            return None
        first = min(groups, key=lambda group: (-sum(self._rows[value] for value in group), group))
        spellings = [SpelledValue(value=value, rows=self._rows[value]) for value in first]
        return {"column": self.column, "spellings": spellings, "others": len(groups) - 1}


_BATCH_ROWS = 8192


@dataclass
class _Scan:
    """Hashes and codes of all rows, about 70 bytes per row, in the order of the tables.

    Attributes:
        keys: Row keys, one part per batch.
        contents: Content hashes.
        inputs: Hashes of the inputs, where keys are those of ids.
        folds: Fold codes.
        groups: Hash of each row's group, where there are groups.
        grouped: Whether the row has a group.
        labels: At most two labels of the training fold.
        starts: First row of each table among all rows.
        spellings: Values of labels, categories and groups.
    """

    keys: list[NDArray[np.uint8]] = field(default_factory=list)
    contents: list[NDArray[np.uint8]] = field(default_factory=list)
    inputs: list[NDArray[np.uint8]] = field(default_factory=list)
    folds: list[NDArray[np.uint8]] = field(default_factory=list)
    groups: list[NDArray[np.uint8]] = field(default_factory=list)
    grouped: list[NDArray[np.bool_]] = field(default_factory=list)
    labels: set[Any] = field(default_factory=set)
    starts: list[int] = field(default_factory=list)
    spellings: list[Spellings] = field(default_factory=list)


def check(sources: Sequence[tuple[str, Table]], columns: Columns, split: Split) -> CheckResult:
    """Check all rows together.

    Args:
        sources: Source file and its split table, in which every row of the file is.
        columns: The frozen columns.
        split: How the folds were made.

    Raises:
        DataError: An id stands for two contents, a group is in two folds, a fold is empty, or
            the label is the same in all of the training fold.
    """
    scan = _scanned(sources, columns)
    folds = np.concatenate(scan.folds)
    duplicates = _check_duplicates(scan, folds, sources, columns)
    if scan.groups:
        _check_groups(scan, folds, sources, columns)
    counts = np.bincount(folds, minlength=OUTSIDE + 1)
    _check_folds(counts, split)
    if len(scan.labels) == 1:
        (label,) = scan.labels
        raise DataError(
            f"column {columns.label!r}: the label is {label!r} in all {counts[TRAIN]} rows of the "
            f"training fold; there is nothing to learn"
        )
    keys = flat_keys(np.concatenate(scan.keys))
    inputs = flat_keys(np.concatenate(scan.inputs)) if scan.inputs else keys
    repeated = repeated_inputs(inputs, folds)
    named = {fold: int(counts[code]) for code, fold in enumerate(FOLDS)}
    return {
        "rows": len(folds),
        "folds": named | {"outside": int(counts[OUTSIDE])},
        "duplicates": duplicates,
        "leaks": find_leaks([table for _, table in sources], columns, keys, folds, repeated),
        "spellings": list(filter(None, (column.ambiguous() for column in scan.spellings))),
    }


def _scanned(sources: Sequence[tuple[str, Table]], columns: Columns) -> _Scan:
    """One pass over all tables."""
    kinds = ("label", "categorical", "group")
    named_values = [
        name for name in columns.of_kind(*kinds) if columns.arrow_type(name) == pa.string()
    ]
    scan = _Scan(spellings=[Spellings(name) for name in named_values])
    rows = 0
    group = columns.of_kind("group")
    named = bool(columns.of_kind("id") and columns.inputs)
    for _, table in sources:
        scan.starts.append(rows)
        for batch in table.batches(_BATCH_ROWS):
            rows += len(batch)
            folds = tables.folds(batch)
            scan.keys.append(tables.keys(batch))
            scan.contents.append(content_hashes(batch, columns))
            if named:
                scan.inputs.append(input_hashes(batch, columns))
            scan.folds.append(folds)
            for spellings in scan.spellings:
                spellings.add(batch[spellings.column])
            if len(scan.labels) < 2:
                training = batch[columns.label].filter(folds == TRAIN)
                scan.labels |= set(training.unique().to_pylist()[:2])
            if group:
                names = tables.texts(batch, group[0])
                scan.groups.append(value_hashes(names))
                scan.grouped.append(np.array([name is not None for name in names], dtype=bool))
    return scan


def _check_duplicates(
    scan: _Scan,
    folds: NDArray[np.uint8],
    sources: Sequence[tuple[str, Table]],
    columns: Columns,
) -> dict[str, int]:
    """Count repeated rows; refuse rows of one id with different content."""
    keys, contents = flat_keys(np.concatenate(scan.keys)), flat_keys(np.concatenate(scan.contents))
    order = np.lexsort((contents, keys))
    same_key = keys[order][1:] == keys[order][:-1]
    same_content = same_key & (contents[order][1:] == contents[order][:-1])
    differing = np.flatnonzero(same_key & ~same_content)
    identity = columns.of_kind("id")
    if identity and len(differing):
        pairs = np.sort(np.stack([order[differing], order[differing + 1]]), axis=0)
        one, other = pairs[:, np.lexsort((pairs[0], pairs[1]))[0]].tolist()
        raise DataError(
            f"{_where(other, scan, sources)} has the same {identity[0]!r} as "
            f"{_where(one, scan, sources)}, but different content; {len(differing)} rows in all; "
            f"keep one of them or give them ids of their own"
        )
    inside = folds != OUTSIDE
    keys, folds = keys[inside], folds[inside]
    by_fold = np.lexsort((folds, keys))
    crossing = (keys[by_fold][1:] == keys[by_fold][:-1]) & (np.diff(folds[by_fold]) != 0)
    return {
        "rows": int(same_content.sum()),
        "same_key": int(same_key.sum()),
        "across_folds": len(np.unique(keys[by_fold][1:][crossing])),
    }


def _check_groups(
    scan: _Scan,
    folds: NDArray[np.uint8],
    sources: Sequence[tuple[str, Table]],
    columns: Columns,
) -> None:
    """Refuse a group that is in two folds; rows outside of all folds do not count."""
    counted = np.flatnonzero(np.concatenate(scan.grouped) & (folds != OUTSIDE))
    groups, folds = flat_keys(np.concatenate(scan.groups))[counted], folds[counted]
    order = np.lexsort((counted, folds, groups))
    same = groups[order][1:] == groups[order][:-1]
    crossing = np.flatnonzero(same & (np.diff(folds[order]) != 0))
    if not len(crossing):
        return
    one, other = order[crossing[0]], order[crossing[0] + 1]
    (column,) = columns.of_kind("group")
    name = _value(int(counted[one]), column, scan, sources)
    raise DataError(
        f"column {column!r}: group {name!r} is in {FOLDS[folds[one]]} "
        f"({_where(int(counted[one]), scan, sources)}) and in {FOLDS[folds[other]]} "
        f"({_where(int(counted[other]), scan, sources)}); split by group, or give the column "
        f"another kind"
    )


def _check_folds(counts: NDArray[np.int64], split: Split) -> None:
    """Refuse an empty fold."""
    for code, fold in enumerate(FOLDS):
        if counts[code]:
            continue
        rows = int(counts[: len(FOLDS)].sum())
        if split.method == "column":
            raise DataError(
                f"the {fold} fold is empty: no row's {split.column!r} is a value that "
                f"split.values gives to {fold}"
            )
        if split.method == "k_fold":
            shares = f"{split.folds} folds"
        else:
            shares = ", ".join(f"{name} {share:g}" for name, share in split.fractions.items())
        raise DataError(
            f"the {fold} fold is empty: {rows} rows, split by {split.method!r} into {shares}; "
            f"there are too few rows, groups, times or clusters of similar rows for that"
        )


def _where(row: int, scan: _Scan, sources: Sequence[tuple[str, Table]]) -> str:
    """Source file and row, from 1, of a row counted over all tables."""
    table = int(np.searchsorted(scan.starts, row, side="right")) - 1
    return f"{sources[table][0]}: row {row - scan.starts[table] + 1}"


def _value(row: int, column: str, scan: _Scan, sources: Sequence[tuple[str, Table]]) -> Any:  # noqa: ANN401 - a value of the table
    """One value, read again."""
    table = int(np.searchsorted(scan.starts, row, side="right")) - 1
    place = row - scan.starts[table]
    batches: Iterator[pa.Table] = sources[table][1].batches(_BATCH_ROWS, [column])
    for batch in batches:
        if place < len(batch):
            return batch[column][place].as_py()
        place -= len(batch)
    raise IndexError(row)
