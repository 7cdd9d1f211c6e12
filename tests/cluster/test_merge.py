"""Atoms merged into balanced partitions."""

import itertools

import numpy as np
import pytest

from shoal.cluster.merge import Bounds, InfeasibleError, merge_atoms, merge_cost
from shoal.errors import DataError


def random_atoms(count, seed):
    """Centres and rows of atoms."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 4)), rng.integers(5, 60, count)


def held(rows, labels):
    """Rows of each partition."""
    return np.bincount(labels, weights=rows)


def greedy(centres, rows, partitions, bounds):
    """Atoms in falling size, each to the nearest seed atom with room."""
    order = np.argsort(-rows)
    seeds = [order[0]]
    while len(seeds) < partitions:
        gaps = ((centres[:, None] - centres[seeds][None]) ** 2).sum(2).min(1)
        seeds.append(int(gaps.argmax()))
    labels = np.full(len(rows), -1)
    total = np.zeros(partitions)
    for atom in order:
        for target in np.argsort(((centres[atom] - centres[seeds]) ** 2).sum(1)):
            if total[target] + rows[atom] <= bounds.upper:
                labels[atom] = target
                total[target] += rows[atom]
                break
    return labels if labels.min() >= 0 and total.min() >= bounds.lower else None


@pytest.mark.parametrize("seed", range(3))
def test_merge_keeps_the_bounds_and_beats_greedy(seed):
    """Every partition keeps the bounds, at no more cost than a greedy merge that also does."""
    centres, rows = random_atoms(40, seed)
    bounds = Bounds.of_mean(int(rows.sum()), 5, 0.2, 1.5)
    simple = greedy(centres, rows, 5, bounds)

    labels = merge_atoms(centres, rows, 5, bounds, seed=0)

    assert simple is not None
    assert bounds.lower <= held(rows, labels).min()
    assert held(rows, labels).max() <= bounds.upper
    assert merge_cost(centres, rows, labels) <= merge_cost(centres, rows, simple)


def test_merge_finds_the_best_of_all_balanced_merges():
    """On a case small enough to try everything, nothing within the bounds is cheaper."""
    centres = np.array([[0.0], [1.0], [2.0], [9.0], [10.0], [11.0]])
    rows = np.array([4, 4, 4, 1, 1, 1])
    bounds = Bounds(6, 9)

    labels = merge_atoms(centres, rows, 2, bounds, seed=0)

    every = (np.array(code) for code in itertools.product((0, 1), repeat=6))
    costs = [
        merge_cost(centres, rows, code)
        for code in every
        if all(6 <= n <= 9 for n in np.bincount(code, rows, 2))
    ]
    assert merge_cost(centres, rows, labels) == pytest.approx(min(costs))


def test_bounds_change_the_merge():
    """Without tight bounds the far atoms are a partition; with them a near one joins."""
    centres = np.array([[0.0], [1.0], [2.0], [10.0]])
    rows = np.array([10, 10, 10, 10])

    loose = merge_atoms(centres, rows, 2, Bounds(0, 40), seed=0)
    tight = merge_atoms(centres, rows, 2, Bounds(20, 20), seed=0)

    assert loose.tolist() == [0, 0, 0, 1]
    assert tight.tolist() == [0, 0, 1, 1]


def test_no_partition_is_empty():
    """Every partition has an atom, also where the lower bound is zero and atoms coincide."""
    centres = np.zeros((6, 2))
    centres[5] = 100.0

    labels = merge_atoms(centres, np.full(6, 10), 4, Bounds(0, 60), seed=0)

    assert set(labels.tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize("seed", range(6))
def test_numbers_fall_with_rows_then_rise_with_centre(seed):
    """Partition 0 has the most rows; equal ones are numbered by their centre."""
    centres = np.array([[20.0], [0.0], [10.0]])

    labels = merge_atoms(centres, np.array([5, 5, 9]), 3, Bounds(0, 10), seed)

    assert labels.tolist() == [2, 1, 0]


def test_order_of_atoms_does_not_matter():
    """The same atoms in another order make the same partitions with the same numbers."""
    centres = np.concatenate([random_atoms(12, 0)[0] * 0.1 + 10 * side for side in range(3)])
    rows = np.random.default_rng(1).integers(5, 60, 36)
    bounds = Bounds.of_mean(int(rows.sum()), 3, 0.5, 2.0)
    order = np.random.default_rng(2).permutation(36)

    labels = merge_atoms(centres, rows, 3, bounds, seed=0)
    again = merge_atoms(centres[order], rows[order], 3, bounds, seed=0)

    np.testing.assert_array_equal(again, labels[order])


def test_pruning_gives_way_where_it_leaves_no_solution():
    """A crowd of atoms fills partitions that are not among its nearest, if it must."""
    crowd, far = np.linspace(0, 1, 30), 1000.0 * np.arange(1, 12)
    centres = np.concatenate([crowd, far])[:, None]
    rows = np.full(41, 10)

    labels = merge_atoms(centres, rows, 12, Bounds(30, 60), seed=0)

    assert held(rows, labels).min() >= 30


def test_recomputed_centres_lower_the_cost(monkeypatch):
    """Alternating costs no more than the first balanced assignment, and sometimes less."""
    gains = []
    for seed in range(6):
        centres, rows = random_atoms(20, seed)
        bounds = Bounds.of_mean(int(rows.sum()), 4, 0.9, 1.1)
        costs = []
        for rounds in (1, 5):
            monkeypatch.setattr("shoal.cluster.merge._ROUNDS", rounds)
            costs.append(merge_cost(centres, rows, merge_atoms(centres, rows, 4, bounds, seed=0)))
        gains.append(costs[0] - costs[1])

    assert min(gains) >= 0
    assert max(gains) > 0


def test_impossible_bounds_say_what_to_change():
    """Where no merge fits, the message names the settings to change."""
    with pytest.raises(InfeasibleError, match=r"2 atoms \(the largest with 90 rows\).*raise"):
        merge_atoms(np.array([[0.0], [1.0]]), np.array([90, 10]), 2, Bounds(40, 60), seed=0)


def test_fewer_atoms_than_partitions_is_an_error():
    """Partitions cannot outnumber atoms."""
    with pytest.raises(DataError, match=r"1 atoms .* cannot make 2 partitions"):
        merge_atoms(np.zeros((1, 1)), np.array([5]), 2, Bounds(0, 5), seed=0)


def test_bounds_are_shares_of_the_mean():
    """Bounds are rounded outwards."""
    assert Bounds.of_mean(100, 3, 0.5, 1.5) == Bounds(16, 50)
