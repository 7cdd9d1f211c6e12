"""Commands ``embed-fit`` and ``embed``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.embed.apply import embed, on_threads

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from shoal.settings.discovery import Embed

__all__ = ["embed", "embed_fit"]


def embed_fit(
    settings: Embed,
    rows: Sequence[Path],
    shapes_path: Path,
    out: Path,
    ledger_out: Path,
    threads: int,
    checkpoint_seconds: float,
) -> None:
    """Fit the embedder on the training fold of encoded shards, and freeze it in ``out``."""
    from shoal.embed.fit import fit_embedder
    from shoal.formats.fitted_state import save_state
    from shoal.formats.ledger import Ledger
    from shoal.formats.shapes import Shapes
    from shoal.training.resume import Checkpoints

    ledger, x_shape = Ledger("embed_fit"), Shapes.load(shapes_path).x_shape
    made_of = {"settings": settings.as_json()}
    checkpoints = Checkpoints(out, checkpoint_seconds, ledger, made_of)
    with on_threads(threads, settings.method):
        embedder = fit_embedder(settings, rows, x_shape, ledger, checkpoints)
    tensors, meta = embedder.state()
    ledger.write(ledger_out)
    save_state(out, tensors, meta)
    checkpoints.remove()
