"""The rows that a link is trained on: what is new, and some of what its parent has seen."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.formats.hashing import ROW_HASH_BYTES, more_often, uniform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from shoal.formats.documents.index import Continued
    from shoal.partitions.reader import Index

    Hashes = NDArray[np.uint8]


def link_rows(
    index: Index, number: int, rows: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Of a partition's training rows those that its link is trained on.

    Args:
        index: The index in which the rows are the link's.
        number: Number of the partition.
        rows: All of its training rows, ``hash`` among them.

    Raises:
        SourceError: Rows of what it continues from are gone.
    """
    entry = index.partitions[number]
    continued = entry["continued"]
    before = islice(index.parents(number), None if is_by_age(continued) else 1)
    seen = [_hashes(each, number) for each in before]
    chosen = drawn_rows(rows["hash"], seen, entry["specialist"], continued)
    return {name: array[chosen] for name, array in rows.items()}


def is_by_age(continued: Continued) -> bool:
    """Whether rows that came later are drawn more often, so that it matters when each came."""
    return bool(continued["mixing"]["recency"] == "recent")


def _hashes(index: Index, number: int) -> Hashes:
    found = index.read(number, "train", ("hash",))
    return found.get("hash", np.empty((0, ROW_HASH_BYTES), np.uint8))


def drawn_rows(
    hashes: Hashes, seen: Sequence[Hashes], name: str, continued: Continued
) -> NDArray[np.bool_]:
    """Which rows a link is trained on: all that are new, and some of those that were seen.

    Of the latter, the ones with the smallest draw, which is a hash of link and row. Where rows that
    came later are preferred, a draw is an exponential variable over the row's weight, its place in
    the order in which rows came.

    Args:
        hashes: Of all rows, uint8 ``(rows, ROW_HASH_BYTES)``, in canonical order.
        seen: Those of the parent's rows and, where rows that came later are preferred, of its own
            parents' in turn.
        name: Name of the link.
        continued: What the index says of it.

    Returns:
        bool ``(rows,)``.

    Source:
        Efraimidis and Spirakis, weighted random sampling with a reservoir, 2006.
    """
    chosen = more_often(hashes, seen[0])
    draws = uniform(hashes, name)
    if is_by_age(continued):
        waves = np.sum([more_often(hashes, each) for each in seen], axis=0)
        draws = -np.log1p(-draws) / _mean_places(waves)
    draws[chosen] = np.inf
    chosen[np.argsort(draws, kind="stable")[: continued["drawn"]]] = True
    return chosen


def _mean_places(waves: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean place, counted from one, of the rows that came with each row."""
    counts = np.bincount(waves)
    last = np.cumsum(counts)
    return ((last - counts + 1 + last) / 2)[waves]
