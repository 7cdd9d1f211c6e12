"""Units: rows that belong together, which are drawn, tested and counted as one.

Rows of one patient, document or hour are alike in ways that no model explains. Forty patients with
thirty rows each say about as much as forty rows, and a test that takes them for 1,200 finds
differences where there are none. So whatever a split keeps on one side, a group, a cluster of
similar rows or a block of time, is a unit here; where it keeps nothing, each row is its own.

Sources:
    Liang and Zeger 1986, errors that are robust to dependence within clusters; Cameron and Miller
    2015, *A practitioner's guide to cluster-robust inference*.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from shoal.formats.hashing import row_order

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Ids = NDArray[np.uint64]

UNIT = "unit"
"""Array of a row store that holds the unit of each row; absent where each row is its own."""
NAMES = {
    "group": ("group", "groups"),
    "similarity": ("cluster of similar rows", "clusters of similar rows"),
    "time": ("block of time", "blocks of time"),
}
"""Names of units, singular and plural, by :func:`shoal.split.folds.unit_kind`."""


class Mean(NamedTuple):
    """A mean over rows, its standard error over units, and how many units there are."""

    value: float
    error: float
    units: int


def numbered(units: Ids | None, rows: int) -> tuple[NDArray[np.int64], int]:
    """Number of each row's unit, from 0, and how many units there are.

    Args:
        units: Unit of each row ``(rows,)``; None where each is its own.
        rows: How many rows there are.
    """
    if units is None:
        return np.arange(rows), rows
    distinct, place = np.unique(units, return_inverse=True)
    return place.astype(np.int64), len(distinct)


def leading(keys: NDArray[np.uint8], *apart: NDArray[Any]) -> NDArray[np.int64]:
    """Place of the row by which each is routed: the one with the smallest key of those like it.

    Args:
        keys: Row keys, uint8 ``(rows, KEY_BYTES)``.
        apart: What rows that share a route have in common, such as their unit, each ``(rows,)``.

    Returns:
        int64 ``(rows,)``.
    """
    by_key = row_order(keys)
    order = by_key[np.lexsort([column[by_key] for column in apart])]
    new = np.ones(len(order), dtype=bool)
    new[1:] = False
    for column in apart:
        new[1:] |= column[order[1:]] != column[order[:-1]]
    lead = np.empty_like(order)
    lead[order] = order[new][np.cumsum(new) - 1]
    return lead


def mean_of(values: NDArray[np.float64], units: Ids | None = None) -> Mean:
    """Mean over rows, with an error that is robust to any dependence within units.

    The error's square is ``G / (G - 1) Σ_g (Σ_i∈g (v_i - mean))² / n²`` for G units and n rows:
    where each row is its own unit, the ordinary squared error of a mean.

    Args:
        values: One for each row, ``(rows,)``, at least one.
        units: Unit of each row; None where each is its own.

    Returns:
        The mean; its error is infinite with a single unit.
    """
    place, count = numbered(units, len(values))
    mean = float(values.mean())
    if count < 2:
        return Mean(mean, math.inf, count)
    totals = np.bincount(place, weights=values - mean)
    return Mean(mean, math.sqrt(count / (count - 1) * (totals**2).sum()) / len(values), count)


def least_units(level: float) -> int:
    """Units below which no test is made and no interval is given.

    If nothing differs, G differences all have one sign by chance with probability ``2**-G``: with
    fewer units than this even that would be no evidence at the asked level.

    Args:
        level: Probability of a false alarm on one side: 0.05 takes 5 units, 0.025 takes 6.

    Returns:
        At least 2.

    Source:
        The sign test; Fisher 1935.
    """
    return max(2, math.ceil(-math.log2(level)))


def coin(rows: Mapping[str, NDArray[Any]], byte: int) -> NDArray[np.int64]:
    """0 or 1 for each row, the same for all rows of a unit, or of a key without units.

    Args:
        rows: ``key``, uint8 ``(rows, KEY_BYTES)``, and :data:`UNIT` where rows belong together.
        byte: Which byte of the hash decides; another one is another coin.
    """
    if UNIT in rows:
        return ((rows[UNIT] >> np.uint64(8 * byte)) & np.uint64(1)).astype(np.int64)
    return (rows["key"][:, byte] & 1).astype(np.int64)


def units_text(units: int, kind: str | None) -> str:
    """Units in words: ``42 groups``; rows where each is its own."""
    one, several = NAMES.get(kind or "", ("row", "rows"))
    return f"{units:,} {one if units == 1 else several}"
