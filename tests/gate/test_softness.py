"""Two specialists a row, where that is better than one."""

import numpy as np

from shoal.gate.softness import SOFTNESSES, best_softness


def losses(gain, rows=300, seed=0):
    """Of one specialist a row, and of two, better by ``gain`` at the third softness."""
    rng = np.random.default_rng(seed)
    one = rng.exponential(size=rows)
    two = one[:, None] + rng.normal(0, 0.3, (rows, len(SOFTNESSES)))
    two[:, 2] -= gain
    return one, two


def test_the_softness_with_the_lowest_loss_is_taken():
    """Where two specialists are clearly better."""
    assert best_softness(*losses(0.2), 0.95) == SOFTNESSES[2]


def test_two_specialists_are_not_asked_where_one_is_as_good():
    """Nor where nothing is known."""
    assert best_softness(*losses(-0.2), 0.95) is None
    assert best_softness(np.empty(0), np.empty((0, len(SOFTNESSES))), 0.95) is None


def test_rows_of_few_units_do_not_decide():
    """What four patients agree on is no evidence at 0.95."""
    units = np.repeat(np.arange(4), 75).astype(np.uint64)

    assert best_softness(*losses(0.2), 0.95, units) is None
