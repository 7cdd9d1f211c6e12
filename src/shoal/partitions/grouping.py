"""A shard's rows in groups by partition and fold, with a digest's share for each."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.formats.hashing import multiset_sum, row_order
from shoal.formats.tables import FOLDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLD_NAMES = (*FOLDS, "outside")


def group_order(
    partition: NDArray[np.int32],
    fold: NDArray[np.uint8],
    hashes: NDArray[np.uint8],
    keys: NDArray[np.uint8],
) -> NDArray[np.int64]:
    """Order of rows by partition, fold, row hash and key: a function of the rows alone.

    Args:
        partition: int32 ``(rows,)``.
        fold: Fold codes, uint8 ``(rows,)``.
        hashes: Row hashes, uint8 ``(rows, ROW_HASH_BYTES)``.
        keys: Row keys, uint8 ``(rows, KEY_BYTES)``; tell rows of equal content apart.
    """
    by_hash = row_order(np.concatenate([hashes, keys], axis=1))
    within = np.lexsort((fold[by_hash], partition[by_hash]))
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
