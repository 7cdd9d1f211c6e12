"""A sample of the training rows that does not depend on how they are cut into shards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from shoal.embed.apply import embed_checked
from shoal.errors import DataError
from shoal.formats.kinds import TRAIN
from shoal.formats.row_store import ShardRows, SmallestDraws

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.embed.embedder import Embedder


class Block(NamedTuple):
    """Consecutive encoded rows of a shard.

    Attributes:
        path: The shard.
        start: Place of the first.
        arrays: Their arrays, by name, ``x`` among them.
    """

    path: Path
    start: int
    arrays: dict[str, NDArray[Any]]

    def embedded(self, embedder: Embedder, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Embedding of some of the rows, by their places in the block.

        Raises:
            DataError: One is not finite.
        """
        return embed_checked(embedder, self.arrays["x"][places], self.path, self.start + places)


def training_sample(
    encoded: Sequence[Path], embedder: Embedder, rows: int, seed: int
) -> tuple[NDArray[np.float32], int]:
    """Embeddings of the training rows whose keys draw the smallest numbers.

    Args:
        encoded: Encoded shards.
        embedder: The fitted embedder.
        rows: Rows in the sample, at most.
        seed: Seed of the draw.

    Returns:
        float32 ``(rows, dims)`` in order of draw, and the number of all training rows.

    Raises:
        DataError: There are no training rows, or an embedding is not finite.
    """
    smallest = SmallestDraws(rows, seed, "cluster")
    training_rows = 0
    for block in blocks(encoded, ["x", "key", "fold"]):
        training = np.flatnonzero(block.arrays["fold"] == TRAIN)
        training_rows += len(training)

        def embedded(
            places: NDArray[np.int64], block: Block = block, training: NDArray[np.int64] = training
        ) -> tuple[NDArray[Any], ...]:
            return (block.embedded(embedder, training[places]),)

        keys = block.arrays["key"][training]
        # Rows of one key have one embedding, so that their order does not matter.
        smallest.add(keys, keys, embedded)
    if not training_rows:
        raise DataError("cluster: the training fold is empty, there is nothing to cut")
    return smallest.arrays()[0], training_rows


def blocks(encoded: Sequence[Path], names: Sequence[str]) -> Iterator[Block]:
    """Blocks of rows, shard by shard.

    Args:
        encoded: Encoded shards.
        names: Arrays; units are left out where rows do not belong together.
    """
    for path in encoded:
        with ShardRows(path) as shard:
            start = 0
            for arrays in shard.blocks(shard.names(names)):
                yield Block(path, start, arrays)
                start += len(arrays["fold"])
