import numpy as np
import pytest

from shoal.evaluate import bootstrap
from shoal.evaluate.bootstrap import paired_bootstrap

RNG = np.random.default_rng(3)
A = (RNG.random(400) < 0.8).astype(float)
B = (RNG.random(400) < 0.7).astype(float)


def test_value_is_the_difference_on_the_rows_themselves():
    """The middle is not a bootstrap mean; RMSE takes the roots before the difference."""
    assert paired_bootstrap(A, B, "accuracy", 50, 0).value == pytest.approx(A.mean() - B.mean())
    errors = paired_bootstrap(np.array([9.0, 9.0]), np.array([4.0, 4.0]), "rmse", 50, 0)
    assert errors == (1.0, 1.0, 1.0)


def test_interval_of_a_mean_is_the_normal_one():
    """For a mean of many rows the percentiles are near the textbook's 1.96 standard errors."""
    value, low, high = paired_bootstrap(A, B, "accuracy", 4000, 1)
    error = (A - B).std() / len(A) ** 0.5

    assert low == pytest.approx(value - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(value + 1.96 * error, abs=0.15 * error)


def test_more_confidence_is_a_wider_interval():
    """The ends of 99 % are the normal's 2.58 standard errors away."""
    value, low, high = paired_bootstrap(A, B, "accuracy", 8000, 1, 0.99)
    error = (A - B).std() / len(A) ** 0.5

    assert low == pytest.approx(value - 2.58 * error, abs=0.2 * error)
    assert high == pytest.approx(value + 2.58 * error, abs=0.2 * error)


def test_interval_of_rmse_is_the_delta_methods():
    """The root's interval is near its first-order approximation, a factor 1 / (2 RMSE)."""
    a, b = RNG.normal(0, 1.0, 500) ** 2, RNG.normal(0, 1.2, 500) ** 2
    value, low, high = paired_bootstrap(a, b, "rmse", 4000, 1)
    influence = a / (2 * a.mean() ** 0.5) - b / (2 * b.mean() ** 0.5)
    error = influence.std() / 500**0.5

    assert value == pytest.approx(a.mean() ** 0.5 - b.mean() ** 0.5)
    assert low == pytest.approx(value - 1.96 * error, abs=0.2 * error)
    assert high == pytest.approx(value + 1.96 * error, abs=0.2 * error)


def test_rows_are_drawn_in_pairs():
    """A constant gain on rows of any difficulty leaves no doubt, as it would if drawn apart."""
    hard = RNG.random(200)

    found = paired_bootstrap(hard + 0.1, hard, "accuracy", 200, 0)

    assert found == pytest.approx((0.1, 0.1, 0.1))


def test_equal_models_have_no_difference():
    """The same predictions give exactly zero, not a small number."""
    assert paired_bootstrap(A, A, "accuracy", 100, 0) == (0.0, 0.0, 0.0)


def test_order_of_rows_has_no_influence():
    """Rows may come from shards in any order."""
    order = RNG.permutation(len(A))

    again = paired_bootstrap(A[order], B[order], "accuracy", 100, 5)

    assert again == paired_bootstrap(A, B, "accuracy", 100, 5)


def test_block_size_has_no_influence(monkeypatch):
    """How many resamples are held at a time is a matter of memory alone."""
    a, b = RNG.random(37), RNG.random(37)
    whole = paired_bootstrap(a, b, "rmse", 101, 5)

    monkeypatch.setattr(bootstrap, "_BLOCK_DRAWS", 37 * 3)

    assert paired_bootstrap(a, b, "rmse", 101, 5) == whole


def test_seed_decides_the_draws():
    """The same seed gives the same interval, another gives another."""
    first = paired_bootstrap(A, B, "accuracy", 100, 5)

    assert paired_bootstrap(A, B, "accuracy", 100, 5) == first
    assert paired_bootstrap(A, B, "accuracy", 100, 6) != first


@pytest.mark.parametrize(("a", "b"), [([], []), ([1.0], [1.0, 0.0]), ([[1.0]], [[1.0]])])
def test_arrays_that_do_not_pair_are_refused(a, b):
    """Without rows, or with different ones, there is nothing to resample."""
    with pytest.raises(ValueError, match="two arrays over the same rows"):
        paired_bootstrap(np.array(a), np.array(b), "accuracy", 10, 0)
