"""A two-dimensional picture of embeddings, for eyes only: nothing is ever fitted on it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FEWEST_FOR_UMAP = 10


def picture(
    embedding: NDArray[np.float32], method: Literal["pca", "umap"], seed: int
) -> NDArray[np.float32]:
    """Coordinates to draw each row at.

    UMAP places a row by its batch mates, so its result must not feed an assigner.

    Args:
        embedding: float32 ``(rows, dims)``, as many as are to be drawn.
        method: ``pca``, or ``umap``, which falls back to ``pca`` below ten rows.
        seed: Seed of UMAP.

    Returns:
        float32 ``(rows, 2)``.

    Source:
        McInnes, Healy and Melville 2018, arXiv 1802.03426 (umap-learn).
    """
    if method == "umap" and len(embedding) >= _FEWEST_FOR_UMAP:
        return _umap(embedding, seed)
    return _pca(embedding)


def _pca(embedding: NDArray[np.float32]) -> NDArray[np.float32]:
    rows, dims = embedding.shape
    out = np.zeros((rows, 2), dtype=np.float32)
    kept = min(2, rows, dims)
    if rows > 1:
        centred = embedding - embedding.mean(axis=0, dtype=np.float64)
        axes = np.linalg.svd(centred, full_matrices=False)[2][:kept]
        # The sign of an axis is free: its largest entry is positive.
        axes *= np.sign(axes[np.arange(kept), np.abs(axes).argmax(axis=1)])[:, None]
        out[:, :kept] = centred @ axes.T
    return out


def _umap(embedding: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    with warnings.catch_warnings():
        # umap-learn says at import that its parametric variant, which needs TensorFlow, is off.
        warnings.filterwarnings(
            "ignore", message="Tensorflow not installed", category=ImportWarning
        )
        from umap import UMAP
    # One job: umap-learn is deterministic only then, and warns when it has to set that itself.
    neighbours = min(15, len(embedding) - 1)
    mapper = UMAP(n_components=2, n_neighbors=neighbours, init="pca", random_state=seed, n_jobs=1)
    return np.asarray(mapper.fit_transform(embedding), dtype=np.float32)
