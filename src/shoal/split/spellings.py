"""Values of a column that differ only in case or blanks: most often one value, spelled twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

if TYPE_CHECKING:
    import pyarrow as pa

MOST_VALUES = 20_000
"""Distinct values of a column, beyond which it is not looked at: most are names of single rows."""


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
        for each in pc.value_counts(values.combine_chunks()).to_pylist():
            if each["values"] is not None:
                self._rows[each["values"]] += each["counts"]
        if len(self._rows) > MOST_VALUES:
            self._too_many = True
            self._rows.clear()

    def found(self) -> dict[str, Any] | None:
        """Spellings of what may be one value.

        Returns:
            ``column``; ``spellings``: those of one value, each with its ``rows``, the most first;
            ``others``: how many further values have several. None if no value has.
        """
        alike: dict[str, list[str]] = defaultdict(list)
        for value in self._rows:
            alike[" ".join(value.casefold().split())].append(value)
        several = [each for each in alike.values() if len(each) > 1]
        if not several:
            return None
        ordered = [sorted(each, key=lambda value: (-self._rows[value], value)) for each in several]
        first = min(ordered, key=lambda each: (-sum(map(self._rows.__getitem__, each)), each))
        spellings = [{"value": value, "rows": self._rows[value]} for value in first]
        return {"column": self.column, "spellings": spellings, "others": len(several) - 1}
