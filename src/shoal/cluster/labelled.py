"""A sample of rows with their labels, for probes. Imports torch, which assigning never does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.cluster.grouping import FOLD_NAMES
from shoal.cluster.sample import SmallestDraws, aligned, check_finite
from shoal.errors import DataError
from shoal.store import ShardRows
from shoal.streaming import known_labels
from shoal.tables import VALIDATION
from shoal.train_specialists.partition_rows import halves

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelledRows:
    """Rows with what a probe is trained and judged on, row-aligned.

    Attributes:
        x: Encoded inputs, float32 ``(rows, …)``.
        y: Encoded labels ``(rows,)``, all known.
        key: Row keys, uint8 ``(rows, KEY_BYTES)``.
        embedding: float32 ``(rows, dims)``.
    """

    x: NDArray[np.float32]
    y: NDArray[Any]
    key: NDArray[np.uint8]
    embedding: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.y)

    def at(self, places: NDArray[Any]) -> LabelledRows:
        """Some of the rows, by place or by truth."""
        return LabelledRows(*(getattr(self, name)[places] for name in _LABELLED))


_LABELLED = ("x", "y", "key", "embedding")


def labelled_sample(
    encoded: Sequence[Path], embeddings: Sequence[Path], fold: int, rows: int, seed: int
) -> tuple[LabelledRows, int]:
    """The rows of one fold whose keys draw the smallest numbers, those of unknown labels left out.

    Args:
        encoded: Encoded shards.
        embeddings: Their embeddings, in the same order.
        fold: The fold's code.
        rows: Rows in the sample, at most.
        seed: Seed of the draw.

    Returns:
        The rows in order of draw, and the number of all rows of the fold.

    Raises:
        DataError: The fold has no such row, or an embedding is not finite.
    """
    smallest, in_fold = SmallestDraws(rows, seed), 0
    names = ["x", "y", "key", "hash", "fold"]
    for encoded_path, embedding_path in zip(encoded, embeddings, strict=True):
        with ShardRows(encoded_path) as shard, ShardRows(embedding_path) as embedded:
            aligned(shard, embedded)
            pairs = zip(shard.blocks(names), embedded.blocks(["embedding"]), strict=True)
            start = 0
            for arrays, vectors in pairs:
                check_finite(vectors["embedding"], embedding_path, start)
                start += len(arrays["fold"])
                inside = arrays["fold"] == fold
                in_fold += int(inside.sum())
                known = inside & known_labels(arrays["y"])
                columns = {name: array[known] for name, array in (arrays | vectors).items()}
                smallest.add(columns["key"], columns["hash"], *(columns[n] for n in _LABELLED))
    sample = LabelledRows(*smallest.arrays())
    if not len(sample):
        raise DataError(
            f"cluster: the {FOLD_NAMES[fold]} fold has no row with a known label, probes need some"
        )
    return sample, in_fold


def comparison_rows(
    encoded: Sequence[Path], embeddings: Sequence[Path], rows: int, seed: int
) -> LabelledRows:
    """Validation rows on which no grid point is chosen, at most ``rows``, in order of draw.

    Args:
        encoded: Encoded shards.
        embeddings: Their embeddings, in the same order.
        rows: Rows, at most.
        seed: Seed of the draw.

    Raises:
        DataError: There are none, or an embedding is not finite.
    """
    sample, _ = labelled_sample(encoded, embeddings, VALIDATION, 2 * rows, seed)
    second = sample.at(halves(sample.key) == 1)
    if not len(second):
        raise DataError(
            "cluster: the second half of the validation fold is empty, numbers of partitions "
            "cannot be compared; give the fold more rows or use cluster=kmeans"
        )
    return second.at(np.arange(min(rows, len(second))))
