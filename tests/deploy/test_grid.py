"""Weights on a grid."""

from __future__ import annotations

import numpy as np
import pytest

from shoal.deploy.grid import exponent_of, on_grid, step_of
from shoal_edge.weights import common_grid

STEP, DEAD = 0.125, 0.8


def drawn(seed: int, count: int = 400) -> np.ndarray:
    """Weights with a root mean square of about 0.1."""
    return np.random.default_rng(seed).normal(0, 0.1, count).astype(np.float32)


def test_the_grid_is_near_an_eighth_of_the_weights_size():
    """The exponent is that of the power of two nearest to the share of the root mean square."""
    weights = np.array([0.3, -0.3], np.float32)

    assert exponent_of(weights, STEP) == round(np.log2(0.3 / 8))


def test_steps_are_as_the_square_roots_of_sizes():
    """A tensor with a sixteenth of the weights gets a grid four times as fine."""
    assert step_of(400, 400, 0.5) == 0.5
    assert step_of(25, 400, 0.5) == 0.125


def test_a_first_copy_is_rounded():
    """Without a copy before, each weight is the nearest multiple; none is a -0."""
    weights = drawn(0)

    found, exponent = on_grid(weights, STEP, DEAD, None, None)

    unit = np.float32(2.0**exponent)
    assert found.dtype == np.float32
    assert np.abs(found - weights).max() <= unit / 2
    assert np.array_equal(found / unit, np.round(found / unit))
    assert not (np.signbit(found) & (found == 0)).any()


def test_weights_move_by_whole_steps_beyond_the_dead_zone():
    """At 0.8 steps a weight moves by one, at 1.8 by two; below it stays."""
    deployed = np.array([8, 8, 8, 8, -8], np.float32) / 64
    trained = deployed + np.array([0.79, 0.81, 1.79, -1.81, 0.81], np.float32) / 64

    found, exponent = on_grid(trained, STEP, DEAD, deployed, -6)

    assert exponent == -6
    assert ((found - deployed) * 64).tolist() == [0, 1, 1, -2, 1]


def test_what_is_deployed_follows_training_without_drift():
    """After many releases no weight is farther off than the dead zone, and patches see the grid."""
    weights, deployed, exponent = drawn(1), None, None
    for release in range(30):
        weights = weights + drawn(release + 2) / 8
        before = deployed
        deployed, exponent = on_grid(weights, STEP, DEAD, deployed, exponent)

    assert np.abs(deployed - weights).max() <= DEAD * 2.0**exponent * 1.0001
    assert common_grid(before.view(np.uint32), deployed.view(np.uint32)) is not None


def test_weights_of_another_size_get_another_grid():
    """Where the weights have grown fourfold, their grid is another one; a little, and it stays."""
    first, exponent = on_grid(drawn(0), STEP, DEAD, None, None)

    grown = on_grid(4 * drawn(0), STEP, DEAD, first, exponent)[1]
    near = on_grid(np.float32(1.5) * drawn(0), STEP, DEAD, first, exponent)[1]

    assert grown == exponent + 2
    assert near == exponent


@pytest.mark.parametrize(
    "weights",
    [
        np.zeros(3, np.float32),
        np.array([np.nan, 1], np.float32),
        np.array([np.inf], np.float32),
        np.arange(3),
        np.ones(3),
        np.array([], np.float32),
        np.full(3, 1e-35, np.float32),
    ],
    ids=["zeros", "nan", "infinity", "integers", "float64", "none", "too small"],
)
def test_weights_without_a_grid_stay_as_they_are(weights):
    """Zeros, what is no number, other types and tiny weights are deployed exactly."""
    found, exponent = on_grid(weights, STEP, DEAD, None, None)

    assert exponent is None
    assert found is weights


def test_a_weight_far_from_all_others_keeps_the_tensor_off_the_grid():
    """Multiples of more than 24 bits are not exact in float32."""
    weights = np.zeros(1 << 22, np.float32)
    weights[0] = 1e9

    assert exponent_of(weights, 1e-4) is None
    assert exponent_of(weights, STEP) is not None
