"""Shares of specialists and generalist, by gains on validation rows."""

import numpy as np
import pytest

from shoal.gate.shares import (
    LEAST_PROBABILITY,
    MIXTURES,
    decide,
    either_gains,
    is_above_zero,
    mixture_gains,
)


def mixed(specialist, generalist):
    """Gains by the probabilities that each gives the label."""
    return mixture_gains(-np.log(specialist), -np.log(generalist), LEAST_PROBABILITY)


def drawn(better, rows, seed=0, experts=4):
    """Gains of as many specialists on ``rows`` rows each, all as much better, and who leads."""
    rng = np.random.default_rng(seed)
    lead = np.repeat(np.arange(experts), rows).astype(np.int32)
    whole, own = rng.uniform(0.05, 0.9, (2, len(lead)))
    return mixed(np.clip(own + better, 0.001, 1), whole), lead


def given(gains, lead, units=None, experts=range(4)):
    return [each.share for each in decide(gains, lead, list(experts), 0.95, units).experts]


def test_a_mixture_gains_what_its_density_does():
    """Half of 0.8 and half of 0.2 is 0.5, which is log 2.5 better than 0.2."""
    gains = mixed(np.array([0.8]), np.array([0.2]))

    assert gains.shares == MIXTURES
    np.testing.assert_allclose(gains.values[0, [0, 2, 4]], [0, np.log(2.5), np.log(4)])


def test_a_row_that_was_thought_impossible_decides_no_more_than_the_floor():
    """Probabilities count as at least one in ten thousand, those of unknown classes too."""
    gains = mixed(np.array([1e-7, 0.5, 1e-7]), np.array([0.5, 1e-7, 1e-7]))

    assert gains.values[0, -1] == pytest.approx(np.log(LEAST_PROBABILITY / 0.5))
    assert gains.values[1, -1] == pytest.approx(np.log(0.5 / LEAST_PROBABILITY))
    assert not gains.values[2].any()


def test_losses_that_are_no_densities_take_all_or_nothing():
    """Either model answers alone."""
    rng = np.random.default_rng(0)
    lead = np.repeat(np.arange(2), 200).astype(np.int32)
    generalist = rng.normal(size=400) ** 2
    specialist = generalist + np.where(lead == 0, -0.5, 0.2) + rng.normal(0, 0.1, 400)

    assert given(either_gains(specialist, generalist), lead, experts=[0, 1]) == [1.0, 0.0]


def test_two_models_that_err_on_different_rows_are_mixed():
    """Each is right where the other is not, so that neither alone is as good."""
    rng = np.random.default_rng(0)
    right = rng.random(400) < 0.5
    gains = mixed(np.where(right, 0.9, 0.1), np.where(right, 0.1, 0.9))

    assert given(gains, np.zeros(400, np.int32), experts=[0]) == [0.5]


def test_few_rows_take_about_the_common_share_and_many_their_own():
    """Of two specialists that look worse, the one with many rows loses its share."""
    rng = np.random.default_rng(0)
    lead = np.repeat([0, 1, 2], [400, 5, 400]).astype(np.int32)
    whole = rng.uniform(0.3, 0.5, len(lead))
    own = np.where(lead == 0, 1.8, 0.8) * whole

    assert given(mixed(own, whole), lead, experts=[0, 1, 2, 3]) == [1.0, 1.0, 0.0, 1.0]


def test_a_pool_without_gain_is_let_through_as_rarely_as_asked():
    """A mixture with a model that is a little worse may gain; with one that is clearly so, none."""
    opened = [any(given(*drawn(-0.3, 30, seed))) for seed in range(200)]

    assert np.mean(opened) < 0.07


@pytest.mark.parametrize("rows", [0, 1])
def test_what_cannot_be_told_gives_no_share(rows):
    """No row, or a single one, leaves all to the generalist."""
    gains, lead = drawn(0.3, rows, experts=1)

    assert given(gains, lead, experts=[0]) == [0.0]


def test_rows_without_any_difference_give_no_share():
    """Nothing is gained by a specialist that says the same."""
    half = np.full(60, 0.5)

    assert given(mixed(half, half), np.zeros(60, np.int32), experts=[0]) == [0.0]


def test_the_order_of_rows_does_not_matter():
    """Shuffled rows give the same shares."""
    gains, lead = drawn(0.15, 40)
    order = np.random.default_rng(1).permutation(len(lead))

    assert any(given(gains, lead))
    assert given(gains, lead) == given(gains._replace(values=gains.values[order]), lead[order])


def test_many_rows_of_few_patients_do_not_open_the_gate():
    """Differences that a patient's rows share are found by row in a third of draws, not by unit."""
    found = np.zeros(2)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        patient = np.repeat(np.arange(42), 30)
        values = rng.normal(0, 1, 42)[patient] + rng.normal(0, 0.5, len(patient))
        units = patient.astype(np.uint64)
        found += [is_above_zero(values, None, 0.95), is_above_zero(values, units, 0.95)]

    assert found[0] / 200 > 0.3
    assert found[1] / 200 < 0.1


def test_too_few_units_open_nothing():
    """Four patients who all agree are too few at 0.95, the fifth makes enough."""
    rng = np.random.default_rng(0)
    unit = np.repeat(np.arange(5), 30).astype(np.uint64)
    values = 1 + rng.normal(0, 0.1, 150)

    assert not is_above_zero(values[:120], unit[:120], 0.95)
    assert is_above_zero(values, unit, 0.95)


def test_a_specialist_is_compared_on_the_rows_that_it_leads():
    """Counts and means are of its own rows and of the units that they are of."""
    gains, lead = drawn(0.3, 20)
    units = np.repeat(np.arange(40), 2).astype(np.uint64)

    second = decide(gains, lead, [1, 7], 0.95, units).experts

    assert (second[0].rows, second[0].units) == (20, 10)
    assert second[0].difference == pytest.approx(gains.values[20:40, -1].mean())
    assert second[0].gain == pytest.approx(
        gains.values[20:40, MIXTURES.index(second[0].share)].mean()
    )
    assert (second[1].rows, second[1].gain) == (0, 0.0)
