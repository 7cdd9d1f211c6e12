"""Encoders of several columns at once, with the bits that each gives alone."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from shoal.encode.tabular import OneHot, Passthrough, Scale
from shoal.formats import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from shoal.encode.column import ColumnEncoder

    Floats = NDArray[np.float32]
    Fill = Callable[[slice, Floats], None]
    """Writes features of some rows into their place, which holds zeros: ``(rows, features)``."""
    Check = Callable[[Floats, NDArray[Any], int, str], None]
    """Looks at features of a column, given its values and the place of the first."""


class Group(Protocol):
    """Encoders of one kind, with the place of each one's first feature."""

    def filling(self, table: pa.Table, check: Check) -> Fill:
        """Read the columns of a table, to be encoded some rows at a time."""


class Numbers:
    """Numbers that are scaled, or left as they are: less a mean, over a spread."""

    def __init__(self, encoders: Sequence[Scale | Passthrough], places: Sequence[int]) -> None:
        """Put the fitted numbers of all columns side by side."""
        self._names = [encoder.column for encoder in encoders]
        states = [{"mean": 0.0, "spread": 1.0} | encoder.fitted for encoder in encoders]
        self._fill, self._mean, self._spread = (
            np.array([[state[name]] for state in states]) for name in ("fill", "mean", "spread")
        )
        self._marked = [
            (number, place + 1)
            for number, (place, state) in enumerate(zip(places, states, strict=True))
            if state["marked"]
        ]
        begins = [0, *(np.flatnonzero(np.diff(places) != 1) + 1).tolist(), len(places)]
        self._runs = [
            (slice(first, last), slice(places[first], places[first] + last - first))
            for first, last in itertools.pairwise(begins)
        ]

    def filling(self, table: pa.Table, check: Check) -> Fill:
        """Read the columns."""
        columns = [tables.numbers(table, name) for name in self._names]

        def fill(some: slice, x: Floats) -> None:
            values = np.array([column[some] for column in columns])
            missing = np.isnan(values)
            if missing.any():
                np.copyto(values, self._fill, where=missing)
                for number, place in self._marked:
                    x[:, place] = missing[number]
            values -= self._mean
            values /= self._spread
            with np.errstate(over="ignore"):  # what is not finite is reported
                encoded = values.astype(np.float32)
            if not np.isfinite(encoded).all():
                for name, column, features in zip(self._names, columns, encoded, strict=True):
                    check(features, column[some], some.start, name)
            for columns_of, features_of in self._runs:
                x[:, features_of] = encoded[columns_of].T

        return fill


class Categories:
    """Categories with a feature for each."""

    def __init__(self, encoders: Sequence[OneHot], places: Sequence[int]) -> None:
        """Keep the encoders."""
        self._members = list(zip(encoders, places, strict=True))

    def filling(self, table: pa.Table, check: Check) -> Fill:  # noqa: ARG002 - zeros and ones
        """Read the columns."""
        found = np.empty((len(self._members), len(table)), np.int64)
        for (encoder, place), features in zip(self._members, found, strict=True):
            distinct, codes = tables.distinct_texts(table, encoder.column)
            known = encoder.codes(distinct)
            np.take(np.where(known < 0, -1, known + place), codes, out=features, mode="clip")
        is_any_unknown = found.min(initial=0) < 0

        def fill(some: slice, x: Floats) -> None:
            begins = np.arange(len(x)) * x.shape[1]
            features = found[:, some]
            places = features + begins
            if is_any_unknown:
                places = places[features >= 0]
            x.reshape(-1)[places] = 1

        return fill


def grouped(encoders: Sequence[ColumnEncoder]) -> tuple[list[Group], list[tuple[int, slice]]]:
    """Encoders that work together, and the others.

    Args:
        encoders: Fitted ones.

    Returns:
        The groups, and of each other encoder its number and the place of its features.
    """
    ends = np.cumsum([encoder.width for encoder in encoders]).tolist()
    begins = [0, *ends[:-1]]
    groups: list[Group] = []
    scaled = [(each, n) for n, each in enumerate(encoders) if isinstance(each, Scale | Passthrough)]
    if scaled:
        groups.append(Numbers([each for each, _ in scaled], [begins[n] for _, n in scaled]))
    hot = [(each, n) for n, each in enumerate(encoders) if isinstance(each, OneHot)]
    if hot:
        groups.append(Categories([each for each, _ in hot], [begins[n] for _, n in hot]))
    taken = {n for _, n in (*scaled, *hot)}
    rest = [(n, slice(begins[n], end)) for n, end in enumerate(ends) if n not in taken]
    return groups, rest
