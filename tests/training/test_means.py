"""Means of numbers in parts."""

from fractions import Fraction

import numpy as np
import pytest

from shoal.training.means import ExactMean


def exact_mean(values, cuts=()):
    mean = ExactMean()
    for part in np.split(values, cuts):
        mean.add(part)
    return mean.value


def test_a_mean_is_rounded_once_whatever_the_order_and_the_cuts():
    """Numbers of all sizes, whose sums in float64 round otherwise in each order."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=5000) * 2.0 ** rng.integers(-1000, 1000, 5000)
    values[:3] = 5e-324, -1.7e308, 1.7e308
    right = float(sum(map(Fraction, values.tolist())) / 5000)

    for _ in range(3):
        values = rng.permutation(values)
        assert exact_mean(values, [7, 7, 1000]) == right
        assert exact_mean(values) == right


def test_a_mean_of_losses_is_that_of_numpy_but_for_its_last_bits():
    """Numbers that are alike."""
    values = np.random.default_rng(1).exponential(size=100_000)

    assert exact_mean(values) == pytest.approx(values.mean(), rel=1e-14)


def test_a_number_that_is_not_finite_makes_the_mean_so():
    """And of no number there is no mean."""
    assert np.isnan(exact_mean(np.array([1.0, np.nan, 2.0])))
    assert exact_mean(np.array([1.0, np.inf])) == np.inf
    assert np.isnan(exact_mean(np.array([np.inf, -np.inf])))
    assert exact_mean(np.empty(0)) is None
