"""Rows of many stores found by content, without their embeddings until they are drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.formats.hashing import ROW_HASH_BYTES, row_order, uniform
from shoal.formats.row_store import ShardRows
from shoal.formats.units import UNIT

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class RowPlaces:
    """Where rows lie, and what they are; 56 bytes per row.

    Attributes:
        paths: The stores.
        store: Place of the row's store among them, int32 ``(rows,)``.
        row: Place in that store, int64 ``(rows,)``.
        partition: int32 ``(rows,)``.
        hash: Row hashes, uint8 ``(rows, ROW_HASH_BYTES)``.
        unit: Unit of each row, uint64 ``(rows,)``; None where each is its own.
    """

    paths: tuple[Path, ...]
    store: NDArray[np.int32]
    row: NDArray[np.int64]
    partition: NDArray[np.int32]
    hash: NDArray[np.uint8]
    unit: NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        return len(self.row)

    def take(self, chosen: NDArray[Any]) -> RowPlaces:
        """The chosen rows, by place or by flag."""
        columns = (self.store, self.row, self.partition, self.hash)
        unit = None if self.unit is None else self.unit[chosen]
        taken = RowPlaces(self.paths, *(column[chosen] for column in columns))
        return replace(taken, unit=unit)

    @property
    def identity(self) -> NDArray[np.uint8]:
        """Partition and hash, uint8 ``(rows, 4 + ROW_HASH_BYTES)``."""
        number = self.partition.astype(">i4").view(np.uint8).reshape(-1, 4)
        return np.concatenate([number, self.hash], axis=1)


def read_places(paths: Sequence[Path], folds: Collection[int]) -> RowPlaces:
    """Rows of some folds in stores that ``assign`` wrote.

    Args:
        paths: The stores.
        folds: Codes of the folds.
    """
    columns = [np.empty(0, dtype=kind) for kind in ("i4", "i8", "i4")]
    parts = [(*columns, np.empty((0, ROW_HASH_BYTES), dtype=np.uint8))]
    units = []
    for number, path in enumerate(paths):
        with ShardRows(path) as store:
            row = np.flatnonzero(np.isin(store.read("fold"), list(folds)))
            own = [store.read(name)[row] for name in ("partition", "hash")]
            units += [store.read(name)[row] for name in store.names([UNIT])]
        parts.append((np.full(len(row), number, np.int32), row, *own))
    arrays = (np.concatenate(part) for part in zip(*parts, strict=True))
    rows = RowPlaces(tuple(paths), *arrays)
    return replace(rows, unit=np.concatenate(units)) if units else rows


def surplus(rows: RowPlaces, other: RowPlaces) -> RowPlaces:
    """Rows that are there more often than in ``other``: of five copies against three, two."""
    content, copy = _copies(np.concatenate([other.identity, rows.identity]))
    theirs = np.bincount(content[: len(other)], minlength=len(content))
    own = content[len(other) :]
    ours = np.bincount(own, minlength=len(content))
    # A content's copies are counted through ``other`` first: there are ``theirs`` before ours.
    place = copy[len(other) :] - theirs[own]
    return rows.take(place >= np.minimum(theirs, ours)[own])


def smallest_draws(rows: RowPlaces, limit: int, seed: int, purpose: str) -> RowPlaces:
    """At most ``limit`` rows of each partition, in an order that content and seed decide.

    Of rows that belong together, one in each partition: the tests take rows as drawn apart.

    The first ``limit`` of all are a draw from all of the rows, since each row's number does not
    depend on its partition's size. Every copy of a content draws its own number: if copies came
    together or not at all, a content with many copies would make two samples differ by chance.

    Args:
        rows: The rows.
        limit: Rows of a partition, at most.
        seed: Seed of the draw.
        purpose: Tells this draw from others.
    """
    copy = _copies(rows.identity)[1].astype("<i8").view(np.uint8).reshape(-1, 8)
    draws = uniform(np.concatenate([rows.identity, copy], axis=1), seed, "drift", purpose)
    order = np.lexsort((draws, rows.partition))
    if rows.unit is not None:
        pairs = np.stack([rows.partition[order].astype(np.uint64), rows.unit[order]])
        order = order[np.sort(np.unique(pairs, axis=1, return_index=True)[1])]
    partition = rows.partition[order]
    rank = np.arange(len(order)) - np.searchsorted(partition, partition, side="left")
    kept = order[rank < limit]
    return rows.take(kept[np.argsort(draws[kept], kind="stable")])


def read_embeddings(rows: RowPlaces) -> NDArray[np.float32]:
    """Embedding of each row, float32 ``(rows, dims)``; holds one store's at a time beside them."""
    embedding = np.empty((0, 0), dtype=np.float32)
    for number in np.unique(rows.store).tolist():
        wanted = rows.store == number
        with ShardRows(rows.paths[number]) as store:
            found = store.read("embedding")
        if not len(embedding):
            embedding = np.empty((len(rows), found.shape[1]), dtype=np.float32)
        embedding[wanted] = found[rows.row[wanted]]
    return embedding


def _copies(identity: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number of each row's content, and how many rows of the same content stand before it."""
    order = row_order(identity)
    ordered = identity[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    content, copy = np.empty_like(order), np.empty_like(order)
    number = np.cumsum(new) - 1
    content[order] = number
    copy[order] = np.arange(len(order)) - np.flatnonzero(new)[number]
    return content, copy
