"""Values of a column that differ only in case or blanks: most often one value, spelled twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import pyarrow.compute as pc
from typing_extensions import TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

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


class Spellings:
    """The distinct values of one column, with their rows."""

    def __init__(self, column: str) -> None:
        self.column = column
        self._rows: Counter[str] | None = Counter()

    @property
    def counts(self) -> Mapping[str, int] | None:
        """Rows of each value; None where there are too many values."""
        return self._rows

    def add(self, values: pa.ChunkedArray) -> None:
        """Take some rows' values."""
        counts = pc.value_counts(values.combine_chunks()).to_pylist()
        self.merge(
            {each["values"]: each["counts"] for each in counts if each["values"] is not None}
        )

    def merge(self, counts: Mapping[str, int] | None) -> None:
        """Take the counts of other rows."""
        if self._rows is None or counts is None:
            self._rows = None
            return
        self._rows.update(counts)
        if len(self._rows) > MOST_VALUES:
            self._rows = None

    def ambiguous(self) -> Spelling | None:
        """The value with several spellings that has the most rows; None if no value has."""
        rows: Mapping[str, int] = self._rows or {}
        alike: dict[str, list[str]] = defaultdict(list)
        for value in rows:
            alike[" ".join(value.casefold().split())].append(value)
        groups = [
            sorted(group, key=lambda value: (-rows[value], value))
            for group in alike.values()
            if len(group) > 1
        ]
        if not groups:
            return None
        first = min(groups, key=lambda group: (-sum(rows[value] for value in group), group))
        spellings = [SpelledValue(value=value, rows=rows[value]) for value in first]
        return {"column": self.column, "spellings": spellings, "others": len(groups) - 1}
