"""Fitting of any embedder. Apart from applying one: a change here must not rerun what applies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.embed.embedder import Embedder, IdentityEmbedder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from shoal.formats.ledger import Ledger
    from shoal.settings.discovery import Embed
    from shoal.training.resume import Checkpoints


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
        return IdentityEmbedder(x_shape)
    if settings.method == "pca":
        from shoal.embed.pca import fit_pca

        return fit_pca(settings.dims, paths, x_shape, ledger)
    from shoal.embed.train import fit_neural

    return fit_neural(settings, paths, x_shape, ledger, checkpoints)
