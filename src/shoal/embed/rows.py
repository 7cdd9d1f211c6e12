"""Training rows of encoded shards, in passing or as a bounded sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.formats.kinds import TRAIN
from shoal.formats.row_store import ShardRows, SmallestDraws

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.formats.ledger import Ledger

READ_ROWS = 2048


def training_rows(
    paths: Sequence[Path], names: Sequence[str], ledger: Ledger
) -> Iterator[dict[str, NDArray[Any]]]:
    """Every row of the training fold once, shard after shard, at most ``READ_ROWS`` at a time.

    Args:
        paths: Encoded shards.
        names: The arrays that are wanted; ``x`` is float32 whatever it is in the shards.
        ledger: Its ``rows_read`` counts what is read, rows of other folds included.
    """
    for path in paths:
        with ShardRows(path) as store:
            for block in store.blocks(["fold", *names], READ_ROWS):
                inside = block["fold"] == TRAIN
                ledger.rows_read += len(inside)
                if inside.any():
                    rows = {name: block[name][inside] for name in names}
                    yield rows | {"x": rows["x"].astype(np.float32, copy=False)}


def sample_rows(
    paths: Sequence[Path], rows: int, seed: int, purpose: str, ledger: Ledger
) -> NDArray[np.float32]:
    """The ``rows`` training rows whose keys draw the smallest numbers; all where there are fewer.

    The sample does not depend on how rows are cut into shards, nor on their order, as long as
    rows with the same key have the same content. Memory: twice ``rows`` and one block. There is at
    least one training row.

    Returns:
        float32 ``(at most rows, …)``, ordered by the draw.
    """
    smallest = SmallestDraws(rows, seed, purpose)
    for block in training_rows(paths, ("x", "key"), ledger):

        def taken(
            places: NDArray[np.int64], x: NDArray[Any] = block["x"]
        ) -> tuple[NDArray[Any], ...]:
            return (x[places],)

        smallest.add(block["key"], block["key"], taken)
    return smallest.arrays()[0]
