"""Pictures of embeddings."""

from __future__ import annotations

import numpy as np
import pytest

from shoal.embed.picture import picture


def two_blobs() -> np.ndarray:
    """Two groups of 30 rows in six dimensions, far apart."""
    rng = np.random.default_rng(0)
    return np.repeat([[0.0], [20.0]], 30, axis=0) + rng.normal(size=(60, 6)).astype(np.float32)


@pytest.mark.parametrize("method", ["pca", "umap"])
def test_groups_stay_apart_and_the_seed_decides(method):
    """Far groups are drawn apart, and the same seed draws the same picture."""
    x = two_blobs()

    first, second = (picture(x, method, 0) for _ in range(2))

    assert first.shape == (60, 2)
    assert first.dtype == np.float32
    assert np.array_equal(first, second)
    gap = np.linalg.norm(first[:30].mean(axis=0) - first[30:].mean(axis=0))
    assert gap > 2 * max(first[:30].std(), first[30:].std())


@pytest.mark.parametrize("method", ["pca", "umap"])
@pytest.mark.parametrize("shape", [(1, 4), (2, 4), (5, 1)])
def test_few_rows_or_one_dimension_still_give_two_coordinates(method, shape):
    """What is missing is drawn at 0."""
    drawn = picture(np.arange(np.prod(shape), dtype=np.float32).reshape(shape), method, 0)

    assert drawn.shape == (shape[0], 2)
    assert np.isfinite(drawn).all()
