"""A sample of the training rows that does not depend on how they are cut into shards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import DataError
from shoal.formats.kinds import TRAIN
from shoal.formats.row_store import ShardRows, SmallestDraws

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


def training_sample(
    encoded: Sequence[Path], embeddings: Sequence[Path], rows: int, seed: int
) -> tuple[NDArray[np.float32], int]:
    """Embeddings of the training rows whose keys draw the smallest numbers.

    Args:
        encoded: Encoded shards.
        embeddings: Their embeddings, in the same order.
        rows: Rows in the sample, at most.
        seed: Seed of the draw.

    Returns:
        float32 ``(rows, dims)`` in order of draw, and the number of all training rows.

    Raises:
        DataError: There are no training rows, or an embedding is not finite.
    """
    smallest = SmallestDraws(rows, seed, "cluster")
    training_rows = 0
    for arrays in embedded_blocks(encoded, embeddings, ["key", "fold"]):
        training = arrays["fold"] == TRAIN
        training_rows += int(training.sum())
        keys = arrays["key"][training]
        # Rows of one key have one embedding, so that their order does not matter.
        smallest.add(keys, keys, arrays["embedding"][training])
    if not training_rows:
        raise DataError("cluster: the training fold is empty, there is nothing to cut")
    return smallest.arrays()[0], training_rows


def embedded_blocks(
    encoded: Sequence[Path], embeddings: Sequence[Path], names: list[str]
) -> Iterator[dict[str, NDArray[Any]]]:
    """Blocks of rows, shard by shard, with their embeddings.

    Args:
        encoded: Encoded shards.
        embeddings: Their embeddings, in the same order.
        names: Arrays of the encoded shards; ``embedding`` joins them. Units are left out where rows
            do not belong together.

    Raises:
        DataError: Two stores hold another number of rows, or an embedding is not finite.
    """
    for encoded_path, embedding_path in zip(encoded, embeddings, strict=True):
        with ShardRows(encoded_path) as shard, ShardRows(embedding_path) as embedded:
            aligned(shard, embedded)
            start = 0
            pairs = zip(
                shard.blocks(shard.names(names)),
                embedded.blocks(["embedding"], shard.chunk_rows),
                strict=True,
            )
            for arrays, vectors in pairs:
                check_finite(vectors["embedding"], embedding_path, start)
                start += len(vectors["embedding"])
                yield arrays | vectors


def aligned(shard: ShardRows, other: ShardRows) -> None:
    """Refuse two stores of different lengths.

    Raises:
        DataError: One is left from other data.
    """
    if shard.rows != other.rows:
        raise DataError(
            f"{other.path}: {other.rows} rows, but {shard.path} has {shard.rows}; "
            f"one of them is left from other data, run the workflow again"
        )


def check_finite(embedding: NDArray[np.float32], path: object, start: int = 0) -> None:
    """Refuse an embedding with a value that is not finite.

    Args:
        embedding: ``(rows, dims)``.
        path: Where it comes from, for the message.
        start: Rows before the first one.

    Raises:
        DataError: A value is not finite; names the row.
    """
    good = np.isfinite(embedding).all(axis=1)
    if not good.all():
        row = start + int(np.flatnonzero(~good)[0]) + 1
        raise DataError(
            f"{path}: the embedding of row {row} is not finite; "
            f"look for extreme values in the inputs or lower embed.lr"
        )
