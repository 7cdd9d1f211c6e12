"""Batches of training rows in a seeded order, from shards or from memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import IterableDataset

from shoal.store import CHUNK_ROWS, ShardRows
from shoal.tables import TRAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Arrays = tuple[NDArray[Any], ...]
    Batch = tuple[torch.Tensor, ...]

_BLOCK_ROWS = 8 * CHUNK_ROWS


class RowStream(IterableDataset["Batch"]):
    """Batches of the training fold's rows of many shards, shuffled within a bounded buffer.

    Each pass visits blocks of rows in a seeded order, fills a buffer of about ``buffer_rows``
    rows from them and draws the buffer's rows in a seeded order. Data smaller than the buffer
    is read once and stays in memory.

    Attributes:
        training_rows: Rows of the training fold in all shards; where the label is read, only
            those whose class the generation knows.
        batch_size: Rows a batch: the asked-for size, or all training rows where there are fewer.
        steps: Batches that an iteration yields.
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
            batch_size: Rows a step.
            steps: Batches that an iteration yields.
            buffer_rows: Rows held in memory.
            seed: Seed of the order.
        """
        self._shards = [ShardRows(path) for path in paths]
        self._training = [_training_rows(shard, "y" in names) for shard in self._shards]
        self._names = tuple(names)
        self.steps = steps
        self._buffer_rows = buffer_rows
        self._seed = seed
        self._resident: Arrays | None = None
        self.training_rows = sum(len(rows) for rows in self._training)
        self.batch_size = min(batch_size, self.training_rows)

    def __iter__(self) -> Iterator[Batch]:
        rng = np.random.default_rng([self._seed, 0x5EED])
        return _shuffled(lambda: self._buffers(rng), self.batch_size, self.steps, rng)

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

    def _buffers(self, rng: np.random.Generator) -> Iterator[Arrays]:
        if self.training_rows <= self._buffer_rows:
            if self._resident is None:
                self._resident = _joined([self._read(*block) for block in self._blocks()])
            yield self._resident
            return
        blocks = self._blocks()
        held: list[Arrays] = []
        for place in rng.permutation(len(blocks)):
            held.append(self._read(*blocks[place]))
            if sum(len(arrays[0]) for arrays in held) >= self._buffer_rows:
                yield _joined(held)
                held = []
        if held:
            yield _joined(held)

    def _blocks(self) -> list[tuple[int, int]]:
        """Shard and first row of every block."""
        return [
            (index, start)
            for index, shard in enumerate(self._shards)
            for start in range(0, shard.rows, _BLOCK_ROWS)
        ]

    def _read(self, shard: int, start: int) -> Arrays:
        """The training rows of one block."""
        rows = self._training[shard]
        inside = rows[(rows >= start) & (rows < start + _BLOCK_ROWS)] - start
        return tuple(
            self._shards[shard].read(name, start, start + _BLOCK_ROWS)[inside]
            for name in self._names
        )


def _training_rows(shard: ShardRows, labelled: bool) -> NDArray[np.int64]:
    training = shard.read("fold") == TRAIN
    return np.flatnonzero(training & known_labels(shard.read("y")) if labelled else training)


def known_labels(y: NDArray[Any]) -> NDArray[np.bool_]:
    """Which labels a model can be trained on: all numbers, and classes of the generation.

    Args:
        y: Encoded labels ``(rows,)``; a class that came after the generation was fitted is -1.
    """
    return np.ones(len(y), dtype=bool) if y.dtype.kind == "f" else y >= 0


class MemoryRows(IterableDataset["Batch"]):
    """Batches of rows that are in memory, each pass in a new seeded order."""

    def __init__(self, arrays: Arrays, batch_size: int, steps: int, seed: int) -> None:
        """Keep the rows.

        Args:
            arrays: Row-aligned arrays; the order of rows matters, so give a canonical one.
            batch_size: Rows a step; all of them where there are fewer.
            steps: Batches that an iteration yields.
            seed: Seed of the order.
        """
        self._arrays = arrays
        self._steps = steps
        self._seed = seed
        self.batch_size = min(batch_size, len(arrays[0]))

    def __iter__(self) -> Iterator[Batch]:
        rng = np.random.default_rng([self._seed, 0x5EED])
        return _shuffled(lambda: iter([self._arrays]), self.batch_size, self._steps, rng)


def _joined(parts: list[Arrays]) -> Arrays:
    return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))


def _shuffled(
    buffers: Callable[[], Iterator[Arrays]],
    batch_size: int,
    steps: int,
    rng: np.random.Generator,
) -> Iterator[Batch]:
    """``steps`` batches of exactly ``batch_size`` rows, pass after pass over the buffers.

    Rows left over at the end of a buffer begin the next one's first batch.
    """
    yielded = 0
    rest: Arrays | None = None
    while yielded < steps:
        for arrays in buffers():
            order = rng.permutation(len(arrays[0]))
            shuffled = tuple(array[order] for array in arrays)
            rows = _joined([rest, shuffled]) if rest is not None else shuffled
            whole = len(rows[0]) // batch_size
            for place in range(whole):
                if yielded == steps:
                    return
                batch = slice(place * batch_size, (place + 1) * batch_size)
                yield tuple(torch.from_numpy(array[batch]) for array in rows)
                yielded += 1
            rest = tuple(array[whole * batch_size :] for array in rows)
