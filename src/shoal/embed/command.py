"""Command ``embed-fit``: fitting of any embedder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.embed.apply import on_threads
from shoal.embed.embedder import Embedder, IdentityEmbedder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from shoal.formats.ledger import Ledger
    from shoal.formats.shapes import Shapes
    from shoal.settings.discovery import Embed
    from shoal.training.resume import Checkpoints


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
    from shoal.formats.fitted_state import save_state
    from shoal.formats.ledger import Ledger
    from shoal.formats.shapes import Shapes
    from shoal.training.resume import Checkpoints

    ledger, shapes = Ledger("embed_fit"), Shapes.load(shapes_path)
    _check_rows(settings, shapes)
    made_of = {"settings": settings.as_json()}
    checkpoints = Checkpoints(out, checkpoint_seconds, ledger, made_of)
    with on_threads(threads, settings.method):
        embedder = fit_embedder(settings, rows, shapes.x_shape, ledger, checkpoints)
    tensors, meta = embedder.state()
    ledger.write(ledger_out)
    save_state(out, tensors, meta)
    checkpoints.remove()


def _check_rows(settings: Embed, shapes: Shapes) -> None:
    """Refuse an embedder of numbers for rows of tokens, and one of tokens for other rows.

    Raises:
        SettingsError: It is one.
    """
    from shoal.errors import SettingsError

    if shapes.tokens is None and settings.method == "counts":
        raise SettingsError(
            "embed.method: 'counts' embeds tokens, but encoded rows are none; make tokens of the "
            "only input (encoder: tokens), or choose embed=pca"
        )
    if shapes.tokens is not None and settings.method != "counts":
        raise SettingsError(
            f"embed.method: {settings.method!r} embeds numbers, but encoded rows are tokens, whose "
            f"numbers are mere names; choose embed=counts"
        )


def fit_embedder(
    settings: Embed,
    paths: Sequence[Path],
    x_shape: Sequence[int],
    ledger: Ledger,
    checkpoints: Checkpoints | None = None,
) -> Embedder:
    """Fit an embedder on the rows of the training fold.

    The same shards in the same order give the same bits; in another order, or cut otherwise,
    they are visited in another order.

    Args:
        settings: The method and what it needs.
        paths: Encoded shards, streamed.
        x_shape: Shape of one encoded row.
        ledger: Takes rows read, rows seen and FLOPs.
        checkpoints: The job's, for embedders that are trained.

    Raises:
        SettingsError: The method does not fit the rows' shape.
        DataError: The training fold has too few rows.
        ModelError: The loss is not finite.
    """
    if settings.method == "identity":
        return IdentityEmbedder(x_shape, settings.prefix)
    if settings.method == "pca":
        from shoal.embed.pca import fit_pca

        return fit_pca(settings.dims, paths, x_shape, ledger, settings.prefix)
    if settings.method == "counts":
        from shoal.embed.counts import fit_counts

        return fit_counts(settings, paths, x_shape, ledger)
    from shoal.embed.train import fit_neural

    return fit_neural(settings, paths, x_shape, ledger, checkpoints)
