"""Assigners found with probes: the number of partitions, and partitions by loss."""

from __future__ import annotations

import numpy as np
import pytest

from shoal.cluster.by_probes import best_number, measured, one_round
from shoal.cluster.merge import Bounds

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


ATOMS, ROWS_EACH = 24, 20


class Slopes:
    """One line through the origin a partition, fitted by least squares; squared errors."""

    def __init__(self, x, y, partitions):
        self.x, self.y = x, y
        self.slope = np.zeros(partitions)
        self.seen = 0.0

    def train(self, partition, rows_seen):
        """Fit each line anew."""
        for number in range(len(self.slope)):
            own = partition == number
            self.slope[number] = (self.x[own] @ self.y[own]) / (self.x[own] @ self.x[own])
        self.seen += rows_seen

    def all_losses(self, places):
        """Squared errors."""
        return (self.y[places, None] - self.x[places, None] * self.slope) ** 2


class Fixed:
    """Losses that do not depend on training."""

    def __init__(self, losses):
        self.losses = losses

    def train(self, partition, rows_seen):
        """Nothing to learn."""

    def all_losses(self, places):
        """Those given."""
        return self.losses[places]


@pytest.fixture
def labels():
    """Atom of each row."""
    return np.repeat(np.arange(ATOMS), ROWS_EACH).astype(np.int32)


def everyone(labels):
    return np.arange(len(labels))


@pytest.mark.parametrize("seed", range(3))
def test_rounds_find_regimes_that_the_first_cut_mixes(labels, seed):
    """Where every partition begins with atoms of both regimes, each ends with those of one."""
    rng = np.random.default_rng(seed)
    regime = np.arange(ATOMS) % 2
    x = rng.normal(size=len(labels))
    y = np.where(regime[labels] == 0, x, -x) + 0.1 * rng.normal(size=len(labels))
    partition = np.repeat([0, 1], ATOMS // 2).astype(np.int32)
    partition[:2] = 1 - partition[:2]
    partition[2] = 1
    experts = Slopes(x, y, 2)
    bounds = Bounds.of_mean(len(labels), 2, 0.5, 1.5)

    for _ in range(4):
        partition = one_round(experts, labels, partition, 100.0, everyone(labels), bounds)

    assert len(set(zip(regime.tolist(), partition.tolist(), strict=True))) == 2
    assert experts.seen == 400


def test_partitions_keep_the_bounds_whatever_the_losses(labels):
    """A model that is better everywhere takes no more rows than the bounds allow."""
    losses = np.tile([0.1, 1.0, 2.0], (len(labels), 1))
    bounds = Bounds.of_mean(len(labels), 3, 0.5, 1.5)
    start = (np.arange(ATOMS) % 3).astype(np.int32)

    after = one_round(Fixed(losses), labels, start, 1.0, everyone(labels), bounds)

    held = np.bincount(after, minlength=3) * ROWS_EACH
    assert held.tolist() == [240, 160, 80]
    assert (bounds.lower, bounds.upper) == (80, 240)


def test_an_atom_without_a_loss_stays(labels):
    """Of an atom none of whose rows was chosen nothing is known, so it is not moved."""
    losses = np.tile([0.0, 1.0], (len(labels), 1))
    chosen = np.flatnonzero(labels >= 4)
    start = np.isin(np.arange(ATOMS), (0, 2)).astype(np.int32)

    after = one_round(Fixed(losses), labels, start, 1.0, chosen, Bounds(1, len(labels)))

    np.testing.assert_array_equal(after, start)


def test_an_atom_counts_by_its_rows_not_by_those_chosen(labels):
    """The mean loss of the chosen rows stands for all rows of the atom."""
    losses = np.tile([0.0, 1.0], (len(labels), 1))
    losses[labels == 0, 1] = 1.2
    # Atom 0 has one chosen row of 20; by its sum of losses it would be the one to give way.
    chosen = np.concatenate([[0], np.flatnonzero(labels > 0)])
    upper = len(labels) - ROWS_EACH
    start = np.zeros(ATOMS, np.int32)

    after = one_round(Fixed(losses), labels, start, 1.0, chosen, Bounds(0, upper))

    assert after[0] == 0
    assert after.sum() == 1
