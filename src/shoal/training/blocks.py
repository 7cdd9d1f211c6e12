"""Rows in padded blocks of one size, for models whose products cannot be made exact.

A matrix product's rounding depends on its shape: the same rows in batches of another size gave
other bits in 43 % of rows, in blocks of this size in none, as long as the kernel rounds alike at
every place of a block. torch's does with :mod:`shoal.training.kernels`; for linear maps and
distances see :mod:`shoal.training.exact`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

BLOCK_ROWS = 256


def padded_blocks(rows: NDArray[Any], dtype: str) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Blocks of exactly BLOCK_ROWS rows, the last one padded with zeros.

    Args:
        rows: ``(rows, …)``.
        dtype: numpy type of the blocks.

    Yields:
        Where the block's rows stand, and the block ``(BLOCK_ROWS, …)``.
    """
    for start in range(0, len(rows), BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, len(rows))
        block = np.zeros((BLOCK_ROWS, *rows.shape[1:]), dtype=dtype)
        block[: stop - start] = rows[start:stop]
        yield slice(start, stop), block
