"""Folds and units of rows, by a function of one row or by a table fitted once per generation.

A unit is what a split keeps on one side; see :mod:`shoal.formats.units`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import SourceError, nearest
from shoal.formats.hashing import uniform
from shoal.formats.kinds import FOLDS, OUTSIDE, TEST, TRAIN, VALIDATION
from shoal.split.keys import flat_keys, grouped_hashes, value_hashes
from shoal_edge.canonical import canonical_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from shoal.formats.kinds import Fold
    from shoal.formats.tables import Columns
    from shoal.settings.data import KFold, PlainSplit, Similarity, Split

    Bytes = NDArray[np.uint8]
    State = dict[str, NDArray[Any]]

_DECILES = 10


@dataclass(frozen=True)
class Basis:
    """Columns that a row's fold may depend on; rows in file order.

    Attributes:
        keys: Row keys, uint8 ``(rows, KEY_BYTES)``.
        source: The file, for messages.
        first_row: Row of the first of these rows in the file, from 1.
        groups: Group of each row, None where missing; for ``group``.
        times: Seconds, NaN where missing; float64 ``(rows,)``; for ``time``.
        named: Value of the column that names the fold, None where missing; for ``column``.
    """

    keys: Bytes
    source: str
    first_row: int
    groups: NDArray[np.object_] | None = None
    times: NDArray[np.float64] | None = None
    named: NDArray[np.object_] | None = None


def fit_time(times: NDArray[np.float64], fractions: Mapping[Fold, float]) -> State:
    """First times of validation and of test, so that each fold has its share of the rows.

    Rows of equal time share a fold, so shares are exact only where times differ.

    Args:
        times: Seconds of every row, float64 ``(rows,)``.
        fractions: Share of each fold.

    Returns:
        ``bounds``, float64 ``(2,)``, ascending.
    """
    ordered = np.append(np.sort(times), np.inf)
    places = np.rint(_cumulative(fractions) * len(times)).astype(np.int64)
    return {"bounds": ordered[places]}


def fit_table(
    keys: Bytes, labels: NDArray[Any] | None, fractions: Mapping[Fold, float], seed: int
) -> State:
    """A fold for each key, with exact counts, all together or inside each class.

    Keys are ordered by a seeded hash and dealt out in that order. With ``labels`` this is done
    in each class, or in each tenth of the rows where labels are numbers; the counts of
    validation and test then are those of all rows together, those of a class are within one
    row of its share, and a class always has a row in training. Equal keys share a fold: then
    counts are within the number of copies.

    Args:
        keys: Key of every row, uint8 ``(rows, KEY_BYTES)``, in any order.
        labels: Label of every row, strings or float64; None to disregard them.
        fractions: Share of each fold.
        seed: Seed of the order.

    Returns:
        ``keys``, uint8 ``(distinct, KEY_BYTES)`` ascending, and ``folds``, uint8
        ``(distinct,)``.
    """
    distinct, strata, copies = _distinct(keys, _strata(labels, len(keys)))
    order = np.lexsort((uniform(distinct, "split", seed), strata))
    rows = np.bincount(strata, weights=copies).astype(np.int64)
    validation, test = (share[strata[order]] for share in _shares(rows, fractions))
    before = np.cumsum(copies[order]) - copies[order]
    place = before - (np.cumsum(rows) - rows)[strata[order]]
    train = rows[strata[order]] - validation - test
    folds = np.empty(len(distinct), dtype=np.uint8)
    folds[order] = np.where(
        place < train, TRAIN, np.where(place < train + validation, VALIDATION, TEST)
    )
    return {"keys": distinct, "folds": folds}


def folds_of(split: Split, state: Mapping[str, NDArray[Any]], rows: Basis) -> Bytes:
    """Fold of each row.

    Args:
        split: The settings.
        state: What a fit returned; empty for methods that have none.
        rows: The rows.

    Returns:
        Fold codes, uint8 ``(rows,)``. A row whose group is missing, or whose key is not in the
        fitted table, falls by the hash of its key.

    Raises:
        SourceError: A time is missing, or the value that names the fold is missing or unknown.
    """
    if split.method == "k_fold":
        return _by_part(rows.keys, split)
    if split.method == "column":
        return _by_name(split, rows)
    if split.method == "time":
        return np.searchsorted(state["bounds"], all_times(rows), side="right").astype(np.uint8)
    if split.method == "group":
        return _by_hash(grouped_hashes(rows.groups, rows.keys), split)
    folds = _by_hash(rows.keys, split)
    if split.method in ("random", "stratified", "similarity"):
        known, place = look_up(state["keys"], rows.keys)
        folds[known] = state["folds"][place[known]]
    return folds


def _cumulative(fractions: Mapping[Fold, float]) -> NDArray[np.float64]:
    """Shares up to and including train, and validation."""
    return np.cumsum([fractions["train"], fractions["validation"]])


def _by_part(keys: Bytes, split: KFold) -> Bytes:
    parts = np.floor(uniform(keys, "split", split.seed) * split.folds).astype(np.int64)
    folds = np.full(len(keys), TRAIN, dtype=np.uint8)
    folds[parts == (split.fold + 1) % split.folds] = VALIDATION
    folds[parts == split.fold] = TEST
    return folds


def _by_hash(keys: Bytes, split: PlainSplit | Similarity) -> Bytes:
    draws = uniform(keys, "split", split.seed)
    return np.searchsorted(_cumulative(split.fractions), draws, side="right").astype(np.uint8)


def all_times(rows: Basis) -> NDArray[np.float64]:
    """Time of each row, float64 ``(rows,)``.

    Raises:
        SourceError: A row has none.
    """
    times = rows.times
    if times is None:
        raise ValueError("method 'time' needs times")
    missing = np.isnan(times)
    if missing.any():
        row = rows.first_row + int(np.argmax(missing))
        raise SourceError(
            f"{rows.source}: row {row} has no time, so it has no place in a split by time; "
            f"fill it in or split another way"
        )
    return times


def _by_name(split: PlainSplit, rows: Basis) -> Bytes:
    if rows.named is None:
        raise ValueError("method 'column' needs the values that name the fold")
    named_folds = split.values.items()
    codes = {str(canonical_text(value)): FOLDS.index(fold) for value, fold in named_folds}
    codes |= {str(canonical_text(value)): OUTSIDE for value in split.outside}
    named = rows.named.tolist()
    for index, value in enumerate(named):
        if value not in codes:
            place = f"{rows.source}: row {rows.first_row + index}, column {split.column!r}"
            if value is None:
                raise SourceError(f"{place}: the value that names the fold is missing")
            raise SourceError(
                f"{place}: {value!r} is neither in split.values nor in split.outside; "
                f"{nearest(value, codes)}"
            )
    return np.array([codes[value] for value in named], dtype=np.uint8)


def look_up(known: Bytes, keys: Bytes) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which keys are in an ascending table of keys, and where.

    Args:
        known: The table, uint8 ``(any, KEY_BYTES)``.
        keys: The keys, uint8 ``(rows, KEY_BYTES)``.
    """
    if not len(known):
        return np.zeros(len(keys), dtype=bool), np.zeros(len(keys), dtype=np.int64)
    table, wanted = flat_keys(known), flat_keys(keys)
    place = np.minimum(np.searchsorted(table, wanted), len(table) - 1)
    return table[place] == wanted, place


def _distinct(
    keys: Bytes, strata: NDArray[np.int64]
) -> tuple[Bytes, NDArray[np.int64], NDArray[np.int64]]:
    """Distinct keys ascending, each with the lowest stratum of its rows and its row count."""
    flat = flat_keys(keys)
    order = np.lexsort((strata, flat))
    distinct, first, copies = np.unique(flat[order], return_index=True, return_counts=True)
    matrix = np.ascontiguousarray(distinct).view(np.uint8).reshape(-1, keys.shape[1])
    return matrix, strata[order][first], copies


def _strata(labels: NDArray[Any] | None, rows: int) -> NDArray[np.int64]:
    """Class of each row, or its tenth by a number; all zero without labels."""
    if labels is None:
        return np.zeros(rows, dtype=np.int64)
    if labels.dtype == object:
        return np.unique(labels.astype(str), return_inverse=True)[1].astype(np.int64)
    edges = np.quantile(labels, np.arange(1, _DECILES) / _DECILES)
    return np.searchsorted(edges, labels, side="right").astype(np.int64)


def _shares(
    rows: NDArray[np.int64], fractions: Mapping[Fold, float]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of validation and test in each stratum.

    Rounding is carried from stratum to stratum, so that the sums are those of all rows.
    """
    through = np.concatenate([[0], np.cumsum(rows)])
    validation, test = (
        np.diff(np.rint(share * through)).astype(np.int64)
        for share in (fractions["validation"], fractions["test"])
    )
    spare = np.maximum(rows - 1, 0)
    test = np.minimum(test, spare)
    return np.minimum(validation, spare - test), test


def unit_kind(columns: Columns, method: str) -> str | None:
    """Why rows belong together: ``group``, ``similarity`` or ``time``; None if they do not.

    A declared group goes first, since every split keeps groups on one side.

    Args:
        columns: The frozen columns.
        method: How rows are split.
    """
    if columns.of_kind("group"):
        return "group"
    return method if method in ("similarity", "time") else None


def units_of(made_by: str, state: Mapping[str, NDArray[Any]], rows: Basis) -> NDArray[np.uint64]:
    """Unit of each row: of its group, of its cluster of similar rows or of its block of time.

    A row without a group, or that was not there when clusters were fitted, is its own unit.

    Args:
        made_by: Result of :func:`unit_kind`.
        state: What the fit of the folds returned.
        rows: The rows.

    Returns:
        uint64 ``(rows,)``, hashes.
    """
    if made_by == "group":
        return first_bytes(grouped_hashes(rows.groups, rows.keys))
    if made_by == "time":
        numbers = block_numbers(state, all_times(rows))
        names, place = np.unique(numbers, return_inverse=True)
        texts = np.array([f"block {number:.0f}" for number in names], dtype=object)
        return first_bytes(value_hashes(texts))[place]
    units = first_bytes(rows.keys)
    known, place = look_up(state["keys"], rows.keys)
    units[known] = state["units"][place[known]]
    return units


def fit_blocks(
    times: NDArray[np.float64], bounds: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Blocks of time in validation and in test: of as many times as there are blocks.

    Rows of one time are in one block. For m times blocks are √m long, longer than the ∛m of which a
    variance has the least error: where dependence reaches far, few long blocks and quantiles of t
    are right where many short ones are not. Dependence beyond a block stays unseen.

    Args:
        times: Seconds of every row, float64 ``(rows,)``.
        bounds: First times of validation and of test.

    Returns:
        ``blocks``: first time of each block, ascending; ``after``: the last time there is, and how
        long the blocks are into which later times fall.

    Source:
        Carlstein 1986, blocks that do not overlap; Hall, Horowitz and Jing 1995, their length;
        Ibragimov and Müller 2010, few of them with t.
    """
    distinct = np.unique(times)
    starts = [_starts(distinct, *fold) for fold in ((bounds[0], bounds[1]), (bounds[1], np.inf))]
    lengths = np.diff(np.append(starts[1], distinct[-1:])) if len(starts[1]) else np.empty(0)
    usual = float(np.median(lengths)) if len(lengths) else 0.0
    last = distinct[-1] if len(distinct) else 0.0
    return {"blocks": np.concatenate(starts), "after": np.array([last, usual or 1.0])}


def block_numbers(
    state: Mapping[str, NDArray[Any]], times: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Number of the block that each time lies in; 0 before the first, which is in training."""
    last, length = state["after"].tolist()
    known = np.searchsorted(state["blocks"], times, side="right")
    return np.asarray(known + np.ceil(np.maximum(times - last, 0.0) / length))


def _starts(distinct: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    own = distinct[(low <= distinct) & (distinct < high)]
    return own[:: max(1, round(len(own) ** 0.5))]


def first_bytes(hashes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The first eight bytes of each hash as a number, ``(rows,)``."""
    return np.ascontiguousarray(hashes[:, :8]).view("<u8").ravel().astype(np.uint64)
