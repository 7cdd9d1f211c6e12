"""A shard's rows in groups by partition and fold, with a digest's share for each.

The runner-up of a row is the partition whose specialist comes second for it. Within a partition's
validation and test fold rows stand by runner-up, so that those of one are consecutive.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.formats.hashing import multiset_sum, row_order
from shoal.formats.kinds import FOLDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLD_NAMES = (*FOLDS, "outside")

ASKED_FOLDS = ("validation", "test")
"""Folds of which a specialist is also asked about rows of other partitions."""

NO_RUNNER_UP = -1


def group_order(
    partition: NDArray[np.int32],
    fold: NDArray[np.uint8],
    hashes: NDArray[np.uint8],
    keys: NDArray[np.uint8],
    runner_up: NDArray[np.int32],
) -> NDArray[np.int64]:
    """Order of rows by partition, fold, runner-up, row hash and key: a function of the rows alone.

    Args:
        partition: int32 ``(rows,)``.
        fold: Fold codes, uint8 ``(rows,)``.
        hashes: Row hashes, uint8 ``(rows, ROW_HASH_BYTES)``.
        keys: Row keys, uint8 ``(rows, KEY_BYTES)``; tell rows of equal content apart.
        runner_up: Runner-up of validation and test rows, int32 ``(rows,)``; else, and where there
            is none, :data:`NO_RUNNER_UP`.
    """
    by_hash = row_order(np.concatenate([hashes, keys], axis=1))
    within = np.lexsort((runner_up[by_hash], fold[by_hash], partition[by_hash]))
    return by_hash[within]


def groups(
    partition: NDArray[np.int32], fold: NDArray[np.uint8], hashes: NDArray[np.uint8]
) -> list[dict[str, Any]]:
    """One record per partition and fold of rows that are already in order.

    Returns:
        ``partition``, ``fold`` (name), ``rows``, ``sum`` (of row hashes, 64 hexadecimal
        digits), ``start`` and ``stop`` (places in this order) of each group.
    """
    code = partition.astype(np.int64) * len(FOLD_NAMES) + fold
    starts = np.flatnonzero(np.diff(code, prepend=code[:1] - 1)).tolist()
    return [
        {
            "partition": int(partition[start]),
            "fold": FOLD_NAMES[fold[start]],
            "rows": stop - start,
            "sum": f"{multiset_sum(hashes[start:stop]):064x}",
            "start": start,
            "stop": stop,
        }
        for start, stop in itertools.pairwise([*starts, len(code)])
    ]


def choosing(partition: NDArray[np.int32], hashes: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """One record per partition of the validation rows by which grid points are chosen.

    Args:
        partition: Of these rows, ascending, int32 ``(rows,)``.
        hashes: Their hashes, uint8 ``(rows, ROW_HASH_BYTES)``.

    Returns:
        ``partition``, ``rows`` and ``sum`` (of row hashes, 64 hexadecimal digits) of each.
    """
    starts = np.flatnonzero(np.diff(partition, prepend=partition[:1] - 1)).tolist()
    return [
        {
            "partition": int(partition[start]),
            "rows": stop - start,
            "sum": f"{multiset_sum(hashes[start:stop]):064x}",
        }
        for start, stop in itertools.pairwise([*starts, len(partition)])
    ]


def asked(
    runner_up: NDArray[np.int32], fold: NDArray[np.uint8], hashes: NDArray[np.uint8]
) -> list[dict[str, Any]]:
    """One record per runner-up and fold of rows that are already in order.

    Returns:
        ``partition`` (the runner-up), ``fold`` (name), ``rows``, ``sum`` (of row hashes, 64
        hexadecimal digits) and ``places`` (start and stop of each run) of the rows elsewhere.
    """
    known = np.flatnonzero(runner_up != NO_RUNNER_UP)
    order = known[np.lexsort((known, fold[known], runner_up[known]))]
    own = np.stack([runner_up[order], fold[order]])
    starts = np.flatnonzero((np.diff(own, prepend=own[:, :1] - 1) != 0).any(axis=0)).tolist()
    ends = np.diff(order) != 1
    found = []
    for start, stop in itertools.pairwise([*starts, len(order)]):
        rows = order[start:stop]
        cuts = np.flatnonzero(ends[start : stop - 1]) + 1
        runs = np.split(rows, cuts)
        found.append(
            {
                "partition": int(runner_up[rows[0]]),
                "fold": FOLD_NAMES[fold[rows[0]]],
                "rows": len(rows),
                "sum": f"{multiset_sum(hashes[rows]):064x}",
                "places": [[int(run[0]), int(run[-1]) + 1] for run in runs],
            }
        )
    return found
