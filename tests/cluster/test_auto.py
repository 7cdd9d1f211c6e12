"""The choice of the number of partitions."""

import numpy as np
import pytest

from shoal.cluster.by_probes import best_number, measured

ROWS = 400
NOISE = np.random.default_rng(0).normal(size=ROWS)


def losses(gain, spread=1.0):
    """Losses of the same rows, less by ``gain`` on average where they are those of 4."""
    centred = spread * (NOISE - NOISE.mean()) / NOISE.std(ddof=1)
    return {1: np.full(ROWS, 2.0), 4: 2.0 - gain - centred}


@pytest.mark.parametrize(("gain", "chosen"), [(0.11, 4), (0.09, 1), (0.0, 1), (-0.5, 1)])
def test_several_partitions_are_chosen_only_if_clearly_better(gain, chosen):
    """The best must beat 1 by two standard errors of the paired difference, here 0.05 each."""
    assert best_number(losses(gain), 2.0) == chosen


def test_equal_losses_are_no_gain():
    """Where nothing differs, 1 is the simplest, whatever the confidence."""
    assert best_number(losses(0.0, spread=0.0), 0.0) == 1


def test_of_several_the_best_is_chosen():
    """Among numbers that are better than 1, the one with the least mean loss is taken."""
    one = np.full(ROWS, 2.0)

    assert best_number({1: one, 4: one - 0.5, 8: one - 0.7, 16: one - 0.6}, 2.0) == 8


def test_all_candidates_are_on_record():
    """Each has its mean loss, its gain over 1 and the gain's standard error."""
    one, four = measured(losses(0.1))

    counts = {"partitions": 1, "rows": ROWS, "units": ROWS}
    assert one == counts | {"loss": 2.0, "gain": 0.0, "standard_error": 0.0}
    assert (four["partitions"], four["rows"]) == (4, ROWS)
    assert four["loss"] == pytest.approx(1.9)
    assert four["gain"] == pytest.approx(0.1)
    assert four["standard_error"] == pytest.approx(0.05)


def test_one_validation_row_decides_nothing():
    """A single difference has no standard error, so several partitions are not chosen."""
    assert best_number({1: np.array([2.0]), 4: np.array([1.0])}, 2.0) == 1


def test_rows_of_a_unit_are_one_piece_of_evidence():
    """A gain that 400 rows show is none where they are twenty rows of twenty groups each."""
    unit = np.repeat(np.arange(20), 20).astype(np.uint64)
    own = np.random.default_rng(0).normal(size=20)
    found = {1: np.full(ROWS, 2.0), 4: 1.8 - (own - own.mean()).repeat(20)}

    assert best_number(found, 2.0) == 4
    assert best_number(found, 2.0, unit) == 1
    assert measured(found, unit)[1]["units"] == 20


def test_too_few_units_decide_for_one_partition():
    """Two standard errors take six groups; five that all agree are too few."""
    found = {1: np.full(ROWS, 2.0), 4: np.full(ROWS, 1.0) + 0.01 * NOISE}

    five, six = (np.arange(ROWS).astype(np.uint64) % np.uint64(count) for count in (5, 6))

    assert (best_number(found, 2.0, five), best_number(found, 2.0, six)) == (1, 4)
