"""The unit of each row: what a split keeps on one side; see :mod:`shoal.formats.units`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.split.folds import all_times, look_up
from shoal.split.keys import grouped_hashes, value_hashes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from shoal.formats.tables import Columns
    from shoal.split.folds import Basis

    Ids = NDArray[np.uint64]


def kind(columns: Columns, method: str) -> str | None:
    """Why rows belong together: ``group``, ``similarity`` or ``time``; None if they do not.

    A declared group goes first, since every split keeps groups on one side.

    Args:
        columns: The frozen columns.
        method: How rows are split.
    """
    if columns.of_kind("group"):
        return "group"
    return method if method in ("similarity", "time") else None


def units_of(made_by: str, state: Mapping[str, NDArray[Any]], rows: Basis) -> Ids:
    """Unit of each row: of its group, of its cluster of similar rows or of its block of time.

    A row without a group, or that was not there when clusters were fitted, is its own unit.

    Args:
        made_by: What :func:`kind` gave.
        state: What the fit of the folds returned.
        rows: The rows.

    Returns:
        uint64 ``(rows,)``, hashes.
    """
    if made_by == "group":
        return _first_bytes(grouped_hashes(rows.groups, rows.keys))
    if made_by == "time":
        numbers = block_numbers(state, all_times(rows))
        names, place = np.unique(numbers, return_inverse=True)
        texts = np.array([f"block {number:.0f}" for number in names], dtype=object)
        return _first_bytes(value_hashes(texts))[place]
    units = _first_bytes(rows.keys)
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


def _first_bytes(hashes: NDArray[np.uint8]) -> Ids:
    return np.ascontiguousarray(hashes[:, :8]).view("<u8").ravel().astype(np.uint64)
