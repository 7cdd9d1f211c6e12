"""A sample of rows with their labels, for probes. Imports torch, which assigning never does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from shoal.cluster.sample import SmallestDraws, embedded_blocks
from shoal.errors import DataError
from shoal.formats.row_store import known_labels
from shoal.formats.units import UNIT
from shoal.partitions.grouping import FOLD_NAMES
from shoal.partitions.reader import halves

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelledRows:
    """Rows with what a probe is trained and judged on, row-aligned.

    Attributes:
        x: Encoded inputs, float32 ``(rows, …)``.
        y: Encoded labels ``(rows,)``, all known.
        key: Row keys, uint8 ``(rows, KEY_BYTES)``.
        embedding: float32 ``(rows, dims)``.
        unit: Unit of each row, uint64 ``(rows,)``; None where each is its own.
    """

    x: NDArray[np.float32]
    y: NDArray[Any]
    key: NDArray[np.uint8]
    embedding: NDArray[np.float32]
    unit: NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        return len(self.y)

    def at(self, places: NDArray[Any]) -> LabelledRows:
        """Some of the rows, by place or by truth."""
        unit = None if self.unit is None else self.unit[places]
        rows = LabelledRows(*(getattr(self, name)[places] for name in _LABELLED))
        return replace(rows, unit=unit)


_LABELLED = ("x", "y", "key", "embedding")


def labelled_sample(
    encoded: Sequence[Path],
    embeddings: Sequence[Path],
    fold: int,
    rows: int,
    seed: int,
    half: int | None = None,
) -> tuple[LabelledRows, int]:
    """The rows of one fold whose keys draw the smallest numbers, those of unknown labels left out.

    Args:
        encoded: Encoded shards.
        embeddings: Their embeddings, in the same order.
        fold: The fold's code.
        rows: Rows in the sample, at most.
        seed: Seed of the draw.
        half: Only rows of this half of the fold, 0 or 1; grid points are chosen on half 0 of the
            validation fold.

    Returns:
        The rows in order of draw, and the number of all rows of the fold.

    Raises:
        DataError: There is no such row, or an embedding is not finite.
    """
    smallest, in_fold = SmallestDraws(rows, seed), 0
    names = ["x", "y", "key", "hash", "fold", UNIT]
    for arrays in embedded_blocks(encoded, embeddings, names):
        inside = arrays["fold"] == fold
        in_fold += int(inside.sum())
        inside &= known_labels(arrays["y"])
        if half is not None:
            inside &= halves(arrays) == half
        columns = {name: array[inside] for name, array in arrays.items()}
        kept = [columns[name] for name in (*_LABELLED, UNIT) if name in columns]
        smallest.add(columns["key"], columns["hash"], *kept)
    sample = LabelledRows(*smallest.arrays())
    if not len(sample):
        part = "" if half is None else f"{('first', 'second')[half]} half of the "
        raise DataError(
            f"cluster: no row in the {part}{FOLD_NAMES[fold]} fold has a known label, and probes "
            f"need some; give the fold more rows or use cluster=kmeans"
        )
    return sample, in_fold
