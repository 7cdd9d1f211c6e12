"""Partitions by chance: a row's is a function of its key, as a true partition is of its input."""

from __future__ import annotations

import itertools
import tempfile
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from shoal.formats.hashing import row_order, uniform
from shoal.formats.kinds import TRAIN, VALIDATION
from shoal.formats.row_store import ShardRows
from shoal.formats.units import UNIT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]

BASELINE_ROWS = ("x", "y", "key", "hash", UNIT)
"""Arrays that baselines are trained and chosen on."""

_HELD_BYTES = 2**26


def random_draw(keys: NDArray[np.uint8], seed: int) -> NDArray[np.float64]:
    """The draw that decides a row's random partition, in [0, 1)."""
    return uniform(keys, seed, "random partition")


def random_bounds(rows: Sequence[int]) -> list[tuple[float, float]]:
    """Intervals of the draw that give random partitions of these sizes."""
    edges = np.concatenate([[0.0], np.cumsum(rows) / max(1, sum(rows))])
    edges[-1] = 1.0
    return [(float(low), float(high)) for low, high in itertools.pairwise(edges)]


def in_canonical_order(rows: Mapping[str, NDArray[Any]]) -> Arrays:
    """Rows in the order of their hashes."""
    order = row_order(rows["hash"])
    return {name: array[order] for name, array in rows.items()}


class RandomRows:
    """Training and validation rows by random partition, after one pass over the shards.

    They lie in a file without a name. Memory: 64 MiB of rows, several times, or one partition.
    """

    def __init__(
        self, shards: Sequence[Path], bounds: Sequence[tuple[float, float]], seed: int, folder: Path
    ) -> None:
        """Read the shards.

        Args:
            shards: Encoded shards.
            bounds: Intervals of the draw, those of :func:`random_bounds`.
            seed: Seed of the draw.
            folder: Where there is room for the rows.
        """
        self._highs = [high for _, high in bounds]
        self._seed = seed
        self._type: np.dtype[Any] = np.dtype([])
        self._counts: list[NDArray[np.int64]] = []
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with this
        for rows in _joined(_read(shards)):
            self._spread(rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def rows(self, partition: int, fold: int) -> Arrays:
        """Rows of a partition, in canonical order.

        Args:
            partition: Number of the interval.
            fold: ``TRAIN`` or ``VALIDATION``.
        """
        records = self._records(2 * partition + (fold == VALIDATION))
        return in_canonical_order({name: records[name] for name in self._type.names or ()})

    def _records(self, group: int) -> NDArray[Any]:
        records = np.empty(sum(int(counts[group]) for counts in self._counts), self._type)
        start = done = 0
        for counts in self._counts:
            self._file.seek((start + int(counts[:group].sum())) * self._type.itemsize)
            found = np.fromfile(self._file, self._type, int(counts[group]))
            records[done : done + len(found)] = found
            start, done = start + int(counts.sum()), done + len(found)
        return records

    def _spread(self, rows: Arrays) -> None:
        """Append rows, ordered by partition and fold."""
        place = np.searchsorted(self._highs, random_draw(rows["key"], self._seed), side="right")
        group = 2 * place + (rows.pop("fold") == VALIDATION)
        order = np.argsort(group, kind="stable")
        self._type = np.dtype([(name, a.dtype, a.shape[1:]) for name, a in rows.items()])
        records = np.empty(len(order), self._type)
        for name, array in rows.items():
            records[name] = array[order]
        self._file.write(records.data)
        self._counts.append(np.bincount(group, minlength=2 * len(self._highs)))


def _read(shards: Sequence[Path]) -> Iterator[Arrays]:
    """Training and validation rows in blocks."""
    for path in shards:
        with ShardRows(path) as shard:
            for block in shard.blocks(shard.names((*BASELINE_ROWS, "fold"))):
                wanted = (block["fold"] == TRAIN) | (block["fold"] == VALIDATION)
                yield {name: array[wanted] for name, array in block.items()}


def _joined(blocks: Iterator[Arrays]) -> Iterator[Arrays]:
    """The same rows in blocks of about ``_HELD_BYTES``."""
    held: list[Arrays] = []
    for block in itertools.chain(blocks, [None]):
        if block is not None:
            held.append(block)
        size = sum(array.nbytes for each in held for array in each.values())
        if held and (block is None or size >= _HELD_BYTES):
            yield {name: np.concatenate([each[name] for each in held]) for name in held[0]}
            held = []
