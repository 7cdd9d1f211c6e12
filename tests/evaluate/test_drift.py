"""The tests of drift: classifier two-sample test, shares, losses and their correction."""

from math import comb

import numpy as np
import pytest

from shoal.evaluate.drift import (
    LEAST_ROWS,
    Loss,
    Sample,
    compare,
    holm,
    loss_rise,
    share_growth,
    two_sample_test,
)


def normal(rows, seed, dims=6):
    """Rows of one normal distribution."""
    return np.random.default_rng(seed).normal(size=(rows, dims)).astype(np.float32)


def test_samples_of_one_source_are_seldom_told_apart():
    """Where nothing drifted, at most a share of the level of all tests rejects."""
    p_values = [
        two_sample_test(normal(40, seed), normal(60, 1000 + seed), seed).p_value
        for seed in range(200)
    ]

    assert np.mean(np.array(p_values) <= 0.05) <= 0.05
    assert np.mean(np.array(p_values) <= 0.5) > 0.3


@pytest.mark.parametrize(
    "change",
    [lambda rows: rows + 0.5, lambda rows: rows * 1.4, np.abs],
    ids=["mean", "spread", "shape"],
)
def test_a_changed_distribution_is_told_apart(change):
    """A shift, a wider spread and another shape of 400 rows are found every time."""
    for seed in range(10):
        told = two_sample_test(normal(400, seed), change(normal(400, 1000 + seed)), seed)

        assert told.p_value < 0.001
        assert 0.55 < told.accuracy <= 1


def test_a_new_cluster_is_told_apart():
    """A fifth of the rows in a place where there were none is found every time."""
    for seed in range(10):
        after = normal(1000, 1000 + seed)
        after[:200] += 6

        assert two_sample_test(normal(1000, seed), after, seed).p_value < 0.001


def test_the_p_value_of_a_perfect_classifier_is_exact():
    """Of all ways to call ten of twenty held-out rows new, one is right in every row."""
    told = two_sample_test(normal(20, 0) - 100, normal(500, 1) + 100, 0)

    assert told.accuracy == 1
    assert told.p_value == pytest.approx(1 / comb(20, 10))


def test_constant_rows_are_not_told_apart():
    """Where all rows are equal the classifier has nothing to go by."""
    told = two_sample_test(np.ones((30, 2), np.float32), np.ones((50, 2), np.float32), 0)

    assert told == (0.5, 1.0)


def test_rows_of_extreme_size_are_no_trouble():
    """Squares of the largest embeddings do not overflow."""
    told = two_sample_test(normal(100, 0) * 1e37, normal(100, 1) * 3e37, 0)

    assert told.p_value < 0.001


def test_few_rows_are_not_tested():
    """With one row too few in either sample there is no result, with enough there is one."""
    few, enough = normal(LEAST_ROWS - 1, 0), normal(LEAST_ROWS, 1)

    assert two_sample_test(few, enough, 0) is None
    assert two_sample_test(enough, few, 0) is None
    assert two_sample_test(enough, enough, 0) is not None


def test_the_seed_decides_the_halves():
    """The same seed gives the same result, another seed another."""
    results = [two_sample_test(normal(200, 0), normal(300, 1), seed) for seed in (1, 1, 2)]

    assert results[0] == results[1]
    assert results[0] != results[2]


def test_growth_of_a_share_has_fishers_p_value():
    """The p-value is the number of ways to place the marked rows so unevenly, of all ways."""
    before, after = np.arange(24) < 1, np.arange(20) < 5

    ways = sum(comb(20, k) * comb(24, 6 - k) for k in (5, 6))

    assert share_growth(before, after) == pytest.approx(ways / comb(44, 6))
    assert share_growth(after, before) > 0.9
    assert share_growth(before, after[:19]) is None


def test_growth_of_a_share_that_is_zero_on_both_sides_is_certain_chance():
    """Nothing marked is no growth."""
    nothing = np.zeros(50, bool)

    assert share_growth(nothing, nothing) == 1.0


def test_false_alarms_about_losses_keep_the_level():
    """Means of squared normal errors, drawn apart, seem to have risen as often as the level."""
    rng = np.random.default_rng(0)
    losses = (rng.normal(size=(2000, 2, 80)) ** 2).mean(axis=2)

    p_values = [loss_rise(Loss(a, 80), Loss(b, 80)) for a, b in losses]

    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.015)


def test_a_rise_of_the_loss_counts_by_its_rows():
    """The same rise is chance in few rows and sure in many; a fall is never a rise."""
    few = loss_rise(Loss(0.5, 30), Loss(0.7, 30))
    many = loss_rise(Loss(0.5, 3000), Loss(0.7, 3000))

    assert few > 0.1
    assert many < 1e-6
    assert loss_rise(Loss(0.7, 3000), Loss(0.5, 3000)) > 0.999
    assert loss_rise(Loss(0.0, 50), Loss(0.0, 50)) == 1.0
    assert loss_rise(Loss(0.5, 3000), Loss(5.0, 19)) is None


def test_holm_multiplies_by_the_tests_that_are_left():
    """The smallest counts as often as there are tests, and no larger one ends below it."""
    assert holm([0.04, None, 0.01, 0.015, 0.9]) == pytest.approx([0.08, None, 0.04, 0.045, 0.9])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([None, None]) == [None, None]
    assert holm([]) == []


def test_a_comparison_of_few_rows_has_counts_and_shares_alone():
    """Shares are told of any rows; p-values only of enough."""
    three = Sample(normal(3, 0), np.array([True, False, False]))
    none = Sample(normal(0, 0), np.zeros(0, bool))

    change = compare((7, 3, 2), three, none, 0)

    assert (change.rows_before, change.arrived, change.gone) == (7, 3, 2)
    assert (change.beyond_before, change.beyond_after) == (pytest.approx(1 / 3), None)
    assert (change.accuracy, change.p_value, change.beyond_p_value) == (None, None, None)
