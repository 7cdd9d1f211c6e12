"""Batches of training rows in a seeded order, from shards or from memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import IterableDataset

from shoal.formats.kinds import TRAIN
from shoal.formats.row_store import ShardRows, known_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Arrays = tuple[NDArray[Any], ...]
    Batch = tuple[torch.Tensor, ...]
    Buffer = tuple[int, Callable[[], Arrays]]

_BLOCK_ROWS = 2048
_TAKEN_ROWS = 8192
"""Rows that are put in their order together; others stay where they are."""


class RowStream(IterableDataset["Batch"]):
    """Batches of the training fold's rows of many shards, shuffled within a bounded buffer.

    Each pass visits blocks of rows in a seeded order, fills a buffer of about ``buffer_rows``
    rows from them and draws the buffer's rows in a seeded order. Data smaller than the buffer
    is read once and stays in memory.

    Attributes:
        training_rows: Rows of the training fold in all shards; where the label is read, only
            those whose class the generation knows.
        batch_size: Rows per batch: the asked-for size, or all training rows where there are fewer.
        per_pass: Batches in which every row has come once.
        steps: Batches that an iteration yields, those before ``start`` counted.
        held: Bytes of rows that it holds before it is iterated: none.
        start: Batches that the next iteration leaves out, once; little of them is read.
        share: Which of how many equal shares of each batch is yielded.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        names: Sequence[str],
        batch_size: int,
        steps: int,
        buffer_rows: int,
        seed: int,
    ) -> None:
        """Count the training rows.

        Args:
            paths: Encoded shards, each with an array ``fold``; their order matters.
            names: The arrays that make a batch.
            batch_size: Rows per step.
            steps: Batches that an iteration yields.
            buffer_rows: Rows held in memory.
            seed: Seed of the order.
        """
        self._shards = [ShardRows(path) for path in paths]
        self._names = tuple(names)
        self._counts = [self._places(*block).size for block in self._blocks()]
        self.steps = steps
        self.start = 0
        self.share = (0, 1)
        self.held = 0
        self._buffer_rows = buffer_rows
        self._seed = seed
        self._resident: Arrays | None = None
        self.training_rows = sum(self._counts)
        self.batch_size = min(batch_size, self.training_rows)
        self.per_pass = -(-self.training_rows // max(1, self.batch_size))

    def __iter__(self) -> Iterator[Batch]:
        rng = np.random.default_rng([self._seed, 0x5EED])
        start, self.start = self.start, 0
        batches = _shuffled(lambda: self._buffers(rng), self.batch_size, start, self.steps, rng)
        return (_share(batch, *self.share) for batch in batches)

    def passes(self) -> Iterator[Batch]:
        """Every training row once, in shard order, in batches of at most the buffer's size."""
        for shard in range(len(self._shards)):
            for start in range(0, self._shards[shard].rows, _BLOCK_ROWS):
                arrays = self._read(shard, start)
                if len(arrays[0]):
                    yield tuple(torch.from_numpy(array) for array in arrays)

    def close(self) -> None:
        """Close the shards."""
        for shard in self._shards:
            shard.close()

    def _buffers(self, rng: np.random.Generator) -> Iterator[Buffer]:
        """Number of rows in each buffer of one pass, and a function that reads them."""
        if self.training_rows <= self._buffer_rows:
            yield self.training_rows, self._all
            return
        blocks, counts = self._blocks(), self._counts
        held: list[int] = []
        for number in rng.permutation(len(blocks)):
            held.append(number)
            if sum(counts[number] for number in held) >= self._buffer_rows:
                yield self._buffer(blocks, counts, held)
                held = []
        if held:
            yield self._buffer(blocks, counts, held)

    def _buffer(self, blocks: list[tuple[int, int]], counts: list[int], held: list[int]) -> Buffer:
        """The rows of some blocks, read when they are asked for."""
        return sum(counts[number] for number in held), lambda: _joined(
            [self._read(*blocks[number]) for number in held]
        )

    def _all(self) -> Arrays:
        if self._resident is None:
            self._resident = _joined([self._read(*block) for block in self._blocks()])
        return self._resident

    def _blocks(self) -> list[tuple[int, int]]:
        """Shard and first row of every block."""
        return [
            (index, start)
            for index, shard in enumerate(self._shards)
            for start in range(0, shard.rows, _BLOCK_ROWS)
        ]

    def _read(self, shard: int, start: int) -> Arrays:
        """The training rows of one block."""
        inside = self._places(shard, start)
        return tuple(
            self._shards[shard].read(name, start, start + _BLOCK_ROWS)[inside]
            for name in self._names
        )

    def _places(self, shard: int, start: int) -> NDArray[np.int64]:
        """Places of the training rows in one block."""
        store, stop = self._shards[shard], start + _BLOCK_ROWS
        training = store.read("fold", start, stop) == TRAIN
        if "y" in self._names:
            training &= known_labels(store.read("y", start, stop))
        return np.flatnonzero(training)


class MemoryRows(IterableDataset["Batch"]):
    """Batches of rows that are in memory, each pass in a new seeded order.

    Attributes:
        batch_size: Rows per batch: the asked-for size, or all rows where there are fewer.
        per_pass: Batches in which every row has come once.
        held: Bytes of the rows.
        start: Batches that the next iteration leaves out, once.
        share: Which of how many equal shares of each batch is yielded.
    """

    def __init__(self, arrays: Arrays, batch_size: int, steps: int, seed: int) -> None:
        """Keep the rows.

        Args:
            arrays: Row-aligned arrays; the order of rows matters, so give a canonical one.
            batch_size: Rows per step; all of them where there are fewer.
            steps: Batches that an iteration yields, those before ``start`` counted.
            seed: Seed of the order.
        """
        self.start = 0
        self.share = (0, 1)
        self._arrays = arrays
        self._steps = steps
        self._seed = seed
        self.batch_size = min(batch_size, len(arrays[0]))
        self.held = sum(array.nbytes for array in arrays)
        self.per_pass = -(-len(arrays[0]) // max(1, self.batch_size))

    def __iter__(self) -> Iterator[Batch]:
        rng = np.random.default_rng([self._seed, 0x5EED])
        start, self.start = self.start, 0
        buffer = (len(self._arrays[0]), lambda: self._arrays)
        batches = _shuffled(lambda: iter([buffer]), self.batch_size, start, self._steps, rng)
        return (_share(batch, *self.share) for batch in batches)


def _share(batch: Batch, number: int, of: int) -> Batch:
    """One of several equal shares of a batch."""
    rows = len(batch[0]) // of
    return tuple(tensor[number * rows : (number + 1) * rows] for tensor in batch)


def _joined(parts: list[Arrays]) -> Arrays:
    if len(parts) == 1:
        return parts[0]
    return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))


def _shuffled(
    buffers: Callable[[], Iterator[Buffer]],
    batch_size: int,
    start: int,
    steps: int,
    rng: np.random.Generator,
) -> Iterator[Batch]:
    """Batches ``start`` to ``steps`` of ``batch_size`` rows, pass after pass over the buffers.

    Rows left over at the end of a buffer begin the next one's first batch. What comes before
    ``start`` is drawn, but neither read nor copied.
    """
    done = 0
    rest: list[_Rows] = []
    at_once = max(1, _TAKEN_ROWS // batch_size)
    while done < steps:
        for rows, read in buffers():
            drawn = [*rest, _Rows(read, rng.permutation(rows))]
            total = sum(len(part.order) for part in drawn)
            whole = total // batch_size
            if done + whole <= start:
                rest = _after(drawn, whole * batch_size)
            else:
                there = [(part.read(), part.order) for part in drawn]
                stop = min(whole, steps - done)
                for first in range(max(0, start - done), stop, at_once):
                    end = min(first + at_once, stop)
                    arrays = _taken(there, first * batch_size, end * batch_size)
                    for number in range(end - first):
                        inside = slice(number * batch_size, (number + 1) * batch_size)
                        yield tuple(torch.from_numpy(array[inside]) for array in arrays)
                rest = _rest(_taken(there, whole * batch_size, total))
                del there  # before the next are read
            done += whole
            if done >= steps:
                return


@dataclass(frozen=True)
class _Rows:
    """Rows of a buffer that are yet to be read, in their order."""

    read: Callable[[], Arrays]
    order: NDArray[np.int64]


def _taken(parts: Sequence[tuple[Arrays, NDArray[np.int64]]], start: int, stop: int) -> Arrays:
    """Rows ``start`` to ``stop`` of all parts one after the other, each in its order."""
    taken, at = [], 0
    for arrays, order in parts:
        some = order[max(0, start - at) : max(0, stop - at)]
        at += len(order)
        if len(some):
            taken.append(tuple(array.take(some, axis=0) for array in arrays))
    return _joined(taken) if taken else ()


def _rest(arrays: Arrays) -> list[_Rows]:
    return [_Rows(lambda: arrays, np.arange(len(arrays[0])))] if arrays else []


def _after(parts: list[_Rows], rows: int) -> list[_Rows]:
    """The parts without their first ``rows`` rows."""
    kept = []
    for part in parts:
        if rows < len(part.order):
            kept.append(_Rows(part.read, part.order[rows:]))
        rows = max(0, rows - len(part.order))
    return kept
