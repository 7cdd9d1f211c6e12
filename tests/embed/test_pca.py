"""Principal components, streamed."""

from __future__ import annotations

import numpy as np
import pytest

from shoal.embed import pca
from shoal.embed.pca import eigen_flops, fit_pca
from shoal.errors import DataError
from shoal.formats.ledger import Ledger


def low_rank(rows: int) -> np.ndarray:
    """Rows in five dimensions around a plane, far from the origin."""
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(rows, 2)) * [3, 1] @ np.linalg.qr(rng.normal(size=(5, 2)))[0].T
    return (plane + 0.01 * rng.normal(size=(rows, 5)) + 4).astype(np.float32)


@pytest.mark.parametrize("widest", [4096, 4], ids=["scatter matrix", "wide rows"])
def test_streamed_components_are_those_of_the_whole(write_shard, monkeypatch, widest):
    """Over several batches and shards the embedding equals the exact one, up to sign."""
    monkeypatch.setattr(pca, "_SCATTER_FEATURES", widest)
    x = low_rank(5000)
    paths = [write_shard(str(i), part) for i, part in enumerate(np.split(x, [700, 3100]))]

    embedding = fit_pca(2, paths, (5,), Ledger("t")).embed(x)

    centred = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    exact = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    signs = np.sign((embedding * exact).sum(axis=0))
    assert embedding * signs == pytest.approx(exact, abs=1e-5 if widest > 5 else 0.01)


def test_components_come_from_the_training_fold_alone(write_shard):
    """Rows of other folds change neither mean nor components."""
    x = low_rank(200)
    wild = np.concatenate([x, 1000 * np.eye(5, dtype=np.float32)])
    fold = np.r_[np.zeros(200), [1, 2, 3, 1, 2]]

    plain = fit_pca(2, [write_shard("a", x)], (5,), Ledger("t"))
    beside = fit_pca(2, [write_shard("b", wild, fold)], (5,), Ledger("t"))

    assert np.array_equal(plain.embed(x), beside.embed(x))


def test_no_more_components_than_features(write_shard):
    """A table narrower than the setting keeps all its components."""
    assert fit_pca(6, [write_shard("a", low_rank(20))], (5,), Ledger("t")).dims == 5


def one_hot(rows: int) -> np.ndarray:
    """Three categories and two constant columns: the rows differ in two directions."""
    codes = np.random.default_rng(1).integers(0, 3, rows)
    constant = np.broadcast_to(np.float32([0.1, 0]), (rows, 2))
    return np.concatenate([np.eye(3, dtype=np.float32)[codes], constant], axis=1)


@pytest.mark.parametrize("widest", [4096, 4], ids=["scatter matrix", "wide rows"])
@pytest.mark.parametrize(
    ("x", "dims"),
    [(one_hot(3000), 2), (low_rank(3), 2), (np.repeat(low_rank(2), 50, axis=0), 1)],
    ids=["one-hot and constant columns", "few rows", "two distinct rows"],
)
def test_no_more_components_than_directions_in_which_rows_differ(
    write_shard, monkeypatch, widest, x, dims
):
    """Rows of low rank have fewer components, which keep their distances."""
    monkeypatch.setattr(pca, "_SCATTER_FEATURES", widest)

    embedder = fit_pca(4, [write_shard("a", x)], (5,), Ledger("t"))

    embedding = embedder.embed(x)
    assert embedder.dims == dims
    expected = np.linalg.norm(x[:50, None] - x[None, :50], axis=2)
    found = np.linalg.norm(embedding[:50, None] - embedding[None, :50], axis=2)
    assert found == pytest.approx(expected, abs=1e-5)


def test_rows_far_from_the_first_bring_no_directions_of_their_own(write_shard):
    """The means of blocks may lie far apart: what rounding leaves of that is no direction."""
    x = one_hot(6000)
    x[:2048, 0] += 1e4

    assert fit_pca(5, [write_shard("a", x)], (5,), Ledger("t")).dims == 3


def test_equal_rows_are_a_data_error(write_shard):
    """Rows without any difference have no component, and the message says so."""
    x = np.full((9, 2), 0.1, np.float32)

    with pytest.raises(DataError, match="embed: all 9 training rows are equal once encoded"):
        fit_pca(1, [write_shard("a", x)], (2,), Ledger("t"))


def test_no_training_rows_is_a_data_error(write_shard):
    """A training fold without rows is named as such."""
    with pytest.raises(DataError, match="the training fold has no rows"):
        fit_pca(1, [write_shard("a", low_rank(2), [1, 2])], (5,), Ledger("t"))


def test_ledger_counts_scatter_matrix_and_eigenvectors(write_shard):
    """Every row adds to the scatter matrix, whose eigenvectors are taken once."""
    ledger = Ledger("t")

    fit_pca(2, [write_shard("a", low_rank(5000))], (5,), ledger)

    assert ledger.rows_seen == 5000
    assert ledger.rows_read == 5000
    assert ledger.flops == 5000 * 25 + eigen_flops(5, 2)


def test_ledger_counts_each_decomposition_of_wide_rows(write_shard, monkeypatch):
    """Each batch costs two products and eigenvectors; components and a mean are stacked on."""
    monkeypatch.setattr(pca, "_SCATTER_FEATURES", 4)
    ledger = Ledger("t")

    fit_pca(2, [write_shard("a", low_rank(600))], (5,), ledger)

    products = 513 * 5 * (513 + 2 * 2) + 91 * 5 * (91 + 2 * 2)
    assert ledger.flops == products + eigen_flops(513, 2) + eigen_flops(91, 2)


def test_eigen_flops_are_the_published_count():
    """4/3 n³ + 2 n² k: 36 + 18 for one vector of a matrix of three."""
    assert eigen_flops(3, 1) == 54
