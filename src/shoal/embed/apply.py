"""Command ``embed``: apart from the fit, so that a change of the fit reruns no shard."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path


def embed(rows: Path, embedder: Path, out: Path, threads: int) -> None:
    """Embed every row of one encoded shard, whatever its fold, in the shard's order."""
    from shoal.embed.embedder import load_embedder
    from shoal.formats.row_store import RowArray, ShardRows, write_rows

    fitted = load_embedder(embedder)
    with on_threads(threads, fitted.method), ShardRows(rows) as store:
        batches = ({"embedding": fitted.embed(block["x"])} for block in store.blocks(["x"]))
        arrays = {"embedding": RowArray((fitted.dims,), "float32")}
        write_rows(out, store.rows, arrays, batches, {"rows_in": store.rows})


def on_threads(threads: int, method: str) -> AbstractContextManager[object]:
    """Fix the number of threads of matrix products, torch's too where torch is needed at all."""
    from threadpoolctl import threadpool_limits

    if method in ("scarf", "vicreg"):
        from shoal.training.determinism import deterministic

        deterministic(threads)
    limits: AbstractContextManager[object] = threadpool_limits(threads)
    return limits
