"""Clusters of nearly identical rows, so that a split can keep each on one side.

A row is a set of parts: a text gives all its substrings of some length, a category its value, a
number its value to some significant digits. Two rows are nearly identical where they share a given
share of their parts (Jaccard), and a cluster is all rows that are so linked, directly or through
others.

Limits: numbers on two sides of a rounding border count as different, however close. Of long texts
with a small alphabet, such as DNA, all short substrings occur: take ``characters`` so long that
most do not. Where much is alike, links join into one cluster that fills a fold or more. The share
is estimated, within about 0.04, and a link is missed now and then. Images are not compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.formats import tables
from shoal.split.folds import first_bytes, fit_table
from shoal.split.keys import flat_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    from shoal.formats.tables import Columns
    from shoal.settings.data import Similarity

    Signatures = NDArray[np.uint32]

COMPARED = ("numeric", "categorical", "text")
"""Kinds of column that rows are compared by."""

_PRIME = 2**31 - 1
_HASHES = 128
_ORDERS = 32
_PREFIX = 8


def signatures(table: pa.Table, columns: Columns, split: Similarity) -> Signatures:
    """MinHash of each row: two rows agree in about the share of their parts that they share.

    Args:
        table: Typed rows.
        columns: The frozen columns.
        split: How texts and numbers are cut into parts.

    Returns:
        uint32 ``(rows, 128)``; each row's is a function of that row alone.

    Source:
        Broder 1997, with linear permutations modulo a prime.
    """
    from sklearn.feature_extraction import FeatureHasher

    if not len(table):
        return np.empty((0, _HASHES), dtype=np.uint32)
    hasher = FeatureHasher(_PRIME, input_type="string", alternate_sign=False)
    hashed = hasher.transform(_parts(table, columns, split))
    ids, starts = hashed.indices.astype(np.uint64), hashed.indptr[:-1]
    draws = np.random.default_rng(0).integers(1, _PRIME, (_HASHES, 2), dtype=np.uint64)
    out = np.empty((len(table), _HASHES), dtype=np.uint32)
    for place, (factor, shift) in enumerate(draws):
        out[:, place] = np.minimum.reduceat((ids * factor + shift) % np.uint64(_PRIME), starts)
    return out


def clusters(signed: Signatures, similarity: float) -> NDArray[np.int64]:
    """Cluster of each row.

    Rows are sorted by several stretches of their signatures in turn, so that similar ones come to
    lie side by side, and neighbours are compared: time grows as sorting does.

    Args:
        signed: Result of :func:`signatures`, ``(rows, 128)``.
        similarity: Share of parts from which two rows are nearly identical.

    Returns:
        int64 ``(rows,)``, numbered from 0.

    Source:
        The sorted-neighbourhood method, Hernández and Stolfo 1995, over MinHash.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    links = [np.empty((2, 0), dtype=np.int64)]
    for first in range(0, _HASHES, _HASHES // _ORDERS):
        stretch = np.ascontiguousarray(signed[:, first : first + _PREFIX])
        flat = stretch.view(f"V{stretch.itemsize * stretch.shape[1]}").ravel()
        order = np.argsort(flat, kind="stable")
        same = np.flatnonzero(stretch[order[:-1], 0] == stretch[order[1:], 0])
        one, other = order[same], order[same + 1]
        alike = (signed[one] == signed[other]).mean(axis=1) >= similarity
        links.append(np.stack([one[alike], other[alike]]))
    one, other = np.concatenate(links, axis=1)
    shape = (len(signed), len(signed))
    graph = coo_matrix((np.ones(len(one), dtype=bool), (one, other)), shape)
    component: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return component.astype(np.int64)


def fit_similarity(
    keys: NDArray[np.uint8], signed: Signatures, split: Similarity
) -> dict[str, NDArray[Any]]:
    """A fold for each key, one for all rows of a cluster.

    Clusters are dealt out in a seeded order, so that shares are exact to the size of a cluster.
    Needs 512 bytes per row.

    Args:
        keys: Key of every row, uint8 ``(rows, KEY_BYTES)``, in any order.
        signed: Their :func:`signatures`.
        split: Similarity from which rows are nearly identical, shares and seed.

    Returns:
        As :func:`shoal.split.folds.fit_table`, and ``units``, uint64 ``(distinct,)``: the first
        bytes of the smallest key of each key's cluster.
    """
    distinct, first, copies = np.unique(flat_keys(keys), return_index=True, return_counts=True)
    cluster = clusters(signed[first], split.similarity)
    # A cluster goes by the smallest of its keys: those are in ascending order.
    _, smallest = np.unique(cluster, return_index=True)
    known = np.ascontiguousarray(distinct).view(np.uint8).reshape(-1, keys.shape[1])
    names = known[smallest[cluster]]
    dealt = fit_table(np.repeat(names, copies, axis=0), None, split.fractions, split.seed)
    place = np.searchsorted(flat_keys(dealt["keys"]), flat_keys(names))
    return {"keys": known, "folds": dealt["folds"][place], "units": first_bytes(names)}


def _parts(table: pa.Table, columns: Columns, split: Similarity) -> Iterator[list[str]]:
    """The parts of each row, at least one per column."""
    compared = columns.of_kind(*COMPARED)
    by_column = [_column_parts(table, columns.kinds[name], name, split) for name in compared]
    for row in zip(*by_column, strict=True):
        yield [
            f"{name}={part}" for name, parts in zip(compared, row, strict=True) for part in parts
        ]


def _column_parts(table: pa.Table, kind: str, name: str, split: Similarity) -> Iterator[list[str]]:
    if kind == "numeric":
        for value in (tables.numbers(table, name) + 0.0).tolist():  # no -0.0
            yield [f"{value:.{split.digits}g}"]
        return
    length = split.characters
    for text in tables.texts(table, name).tolist():
        if kind == "categorical" or text is None:
            yield [str(text)]
        else:
            low = text.lower()
            yield [low[start : start + length] for start in range(max(1, len(low) - length + 1))]
