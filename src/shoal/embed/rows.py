"""Training rows of encoded shards, in passing or as a bounded sample."""

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

    from shoal.formats.ledger import Ledger

READ_ROWS = 2048


def training_rows(
    paths: Sequence[Path], names: Sequence[str], ledger: Ledger, prefix: int | None = None
) -> Iterator[dict[str, NDArray[Any]]]:
    """Every row of the training fold once, shard after shard, at most ``READ_ROWS`` at a time.

    Args:
        paths: Encoded shards.
        names: The arrays that are wanted; ``x`` is float32 whatever it is in the shards.
        ledger: Its ``rows_read`` counts what is read, rows of other folds included.
        prefix: How many places of a row's first axis are kept; None for all.
    """
    for path in paths:
        with ShardRows(path) as store:
            for block in store.blocks(["fold", *names], READ_ROWS):
                inside = block["fold"] == TRAIN
                ledger.rows_read += len(inside)
                if inside.any():
                    rows = {name: block[name][inside] for name in names}
                    seen = rows["x"][:, :prefix]
                    yield rows | {"x": seen.astype(np.float32, copy=False)}


def sample_rows(
    paths: Sequence[Path],
    rows: int,
    seed: int,
    purpose: str,
    ledger: Ledger,
    prefix: int | None = None,
) -> NDArray[np.float32]:
    """The ``rows`` training rows whose keys draw the smallest numbers; all where there are fewer.

    The sample does not depend on how rows are cut into shards, nor on their order, as long as
    rows with the same key have the same content. Memory: twice ``rows`` and one block.

    Returns:
        float32 ``(at most rows, …)``, ordered by the draw.

    Raises:
        DataError: There is no training row.
    """
    smallest: SmallestDraws | None = None
    for block in training_rows(paths, ("x", "key"), ledger, prefix):

        def taken(
            places: NDArray[np.int64], x: NDArray[Any] = block["x"]
        ) -> tuple[NDArray[Any], ...]:
            return (x[places],)

        smallest = smallest or SmallestDraws(rows, seed, purpose)
        smallest.add(block["key"], block["key"], taken)
    if smallest is None:
        raise no_rows()
    return smallest.arrays()[0]


def no_rows() -> DataError:
    """Say that there is nothing to fit on."""
    return DataError("embed: the training fold has no rows")
