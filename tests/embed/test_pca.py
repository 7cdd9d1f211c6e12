"""Principal components, streamed."""

from __future__ import annotations

import numpy as np
import pytest

from shoal.embed.pca import _batches, fit_pca, svd_flops
from shoal.errors import DataError
from shoal.ledger import Ledger


def low_rank(rows: int) -> np.ndarray:
    """Rows in five dimensions around a plane, far from the origin."""
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(rows, 2)) * [3, 1] @ np.linalg.qr(rng.normal(size=(5, 2)))[0].T
    return (plane + 0.01 * rng.normal(size=(rows, 5)) + 4).astype(np.float32)


def test_streamed_components_are_those_of_the_whole(write_shard):
    """Over several batches and shards the embedding equals the exact one, up to sign."""
    x = low_rank(5000)
    paths = [write_shard(str(i), part) for i, part in enumerate(np.split(x, [700, 3100]))]

    embedding = fit_pca(2, paths, (5,), Ledger("t")).embed(x)

    centred = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    exact = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    signs = np.sign((embedding * exact).sum(axis=0))
    assert embedding * signs == pytest.approx(exact, abs=0.01)


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


def test_fewer_rows_than_components_is_a_data_error(write_shard):
    """The message says how many training rows there are."""
    with pytest.raises(DataError, match=r"4 principal components .* has 3"):
        fit_pca(4, [write_shard("a", low_rank(5), [0, 0, 0, 1, 2])], (5,), Ledger("t"))


def test_no_training_rows_is_a_data_error(write_shard):
    """A training fold without rows is named as such."""
    with pytest.raises(DataError, match="the training fold has no rows"):
        fit_pca(1, [write_shard("a", low_rank(2), [1, 2])], (5,), Ledger("t"))


def test_ledger_counts_each_decomposition(write_shard):
    """Two batches cost two decompositions, the second with components and a mean stacked on."""
    ledger = Ledger("t")

    fit_pca(2, [write_shard("a", low_rank(5000))], (5,), ledger)

    assert ledger.rows_seen == 5000
    assert ledger.rows_read == 5000
    assert ledger.flops == svd_flops(2048, 5) + svd_flops(2952 + 3, 5)


@pytest.mark.parametrize(("rows", "columns"), [(10, 3), (3, 10)])
def test_svd_flops_are_the_published_count(rows, columns):
    """6 m n² + 20 n³ with n the shorter side: 540 + 540 for 10 by 3."""
    assert svd_flops(rows, columns) == 1080


def test_batches_have_enough_rows_and_keep_order():
    """No batch is short when there is more than one, and no row is lost or moved."""
    blocks = np.split(np.arange(23), [1, 4, 5, 17])

    batches = list(_batches(blocks, 5))

    assert [len(batch) for batch in batches] == [5, 5, 5, 8]
    assert np.concatenate(batches).tolist() == list(range(23))
