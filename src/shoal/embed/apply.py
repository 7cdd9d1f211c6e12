"""Embedding of encoded rows where they are needed: embeddings are not kept.

A row's bits are the same in any batch, so that whoever embeds it again gets the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.formats.units import UNIT, leading

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from shoal.embed.embedder import Embedder


def embed_checked(
    embedder: Embedder, x: NDArray[np.float32], source: object, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Embedding of each row, float32 ``(rows, dims)``.

    Args:
        embedder: The fitted embedder.
        x: Encoded rows, float32 ``(rows, *x_shape)``.
        source: Where they come from, for the message.
        rows: Places there, from 0, for the message.

    Raises:
        DataError: A value is not finite; names the row.
    """
    from shoal.errors import DataError

    embedding = embedder.embed(x)
    good = np.isfinite(embedding).all(axis=1)
    if not good.all():
        row = int(rows[~good][0]) + 1
        raise DataError(
            f"{source}: the embedding of row {row} is not finite; "
            f"look for extreme values in the inputs or lower embed.lr"
        )
    return embedding


def routing_embedding(
    embedder: Embedder, rows: Mapping[str, NDArray[Any]], *, by_group: bool
) -> NDArray[np.float32]:
    """Embedding by which each row is routed, float32 ``(rows, dims)``.

    Args:
        embedder: The fitted embedder.
        rows: ``x``; by group also ``key`` and ``unit``, of all rows of a partition's fold, in which
            a group lies as a whole.
        by_group: Whether it is that of the leading row of the row's group, or the row's own.
    """
    if not by_group:
        return embedder.embed(rows["x"])
    leads, place = np.unique(leading(rows["key"], rows[UNIT]), return_inverse=True)
    embedding: NDArray[np.float32] = embedder.embed(rows["x"][leads])[place]
    return embedding


def on_threads(threads: int, method: str) -> AbstractContextManager[object]:
    """Fix the number of threads of matrix products, torch's too where torch is needed at all."""
    from threadpoolctl import threadpool_limits

    if method in ("scarf", "vicreg"):
        from shoal.training.determinism import deterministic

        deterministic(threads)
    limits: AbstractContextManager[object] = threadpool_limits(threads)
    return limits
