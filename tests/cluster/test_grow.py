"""New atoms for rows of a new kind, and which rows are theirs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.cluster.assigner import AtomAssigner, assigner_from_state
from shoal.cluster.grow import Drawn, find_atoms, guards_among, merged
from shoal.cluster.merge import Bounds
from shoal.errors import CorruptError
from tests.cluster.test_command import KMEANS


def grid_rows(seed, count, dims=2, high=12):
    """Rows on a coarse grid, so that many distances are equal."""
    return np.random.default_rng(seed).integers(0, high, (count, dims)).astype(np.float32)


def first_assigner(seed, prototypes=5):
    """Prototypes on a grid, each an atom, in two partitions."""
    atoms = np.arange(prototypes, dtype=np.int32)
    points = grid_rows(seed, prototypes)
    return AtomAssigner(points, atoms, (atoms % 2).astype(np.int32), Bounds(1, 99), 50)


def grow(assigner, prototypes, before):
    """The assigner with these new atoms, each a partition, and its guards."""
    guards = guards_among(assigner, prototypes, before)
    partition = np.arange(len(prototypes), dtype=np.int32)
    return assigner.grown(prototypes, partition, guards), guards


def distances(rows, points):
    """Plain distances, float64 ``(rows, points)``."""
    return np.sqrt(((rows[:, None] - points[None]).astype(float) ** 2).sum(axis=2))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(0, 30))
def test_a_row_is_of_a_new_atom_if_that_is_nearest_and_no_guard_is_nearer(seed, atoms, known):
    """By plain distances, for whatever rows; rows from before never move."""
    assigner, new = first_assigner(seed), grid_rows(seed + 1, atoms)
    before, rows = grid_rows(seed + 2, known), grid_rows(seed + 3, 80)
    grown, guards = grow(assigner, new, before)

    old = distances(rows, assigner.prototypes).min(axis=1)
    near = distances(rows, new).min(axis=1)
    is_new = near < old
    if len(guards):
        is_new &= near < distances(rows, guards).min(axis=1)

    assert ((grown.assign(rows) >= 2) == is_new).all()
    assert (grown.assign(rows)[~is_new] == assigner.assign(rows)[~is_new]).all()
    assert (grown.assign(before) == assigner.assign(before)).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_growing_twice_moves_no_row_from_before(seed):
    """Rows from before the second growth stay where the first one put them."""
    first, _ = grow(first_assigner(seed), grid_rows(seed + 1, 3), grid_rows(seed + 2, 20))
    before, rows = grid_rows(seed + 3, 40), grid_rows(seed + 5, 60)
    second, _ = grow(first, grid_rows(seed + 4, 2), before)

    assert (second.assign(before) == first.assign(before)).all()
    stays = second.assign(rows) < first.partitions
    assert (second.assign(rows)[stays] == first.assign(rows)[stays]).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_all_ways_of_asking_agree(seed):
    """Partition, runner-up and distances are of one assignment, also after it was stored."""
    first, _ = grow(first_assigner(seed), grid_rows(seed + 1, 3), grid_rows(seed + 2, 20))
    second, _ = grow(first, grid_rows(seed + 4, 2), grid_rows(seed + 3, 40))
    stored = assigner_from_state(*second.state())
    rows = grid_rows(seed + 5, 60)

    placed, (partition, atom, _) = stored.place(rows), second.nearest(rows)

    assert (placed.partition == partition).all()
    assert (stored.distances_to_partitions(rows).argmin(axis=1) == partition).all()
    assert (second.atom_partition[atom] == partition).all()
    assert (placed.runner_up != placed.partition).all()
    assert (stored.assign(rows[::-1])[::-1] == partition).all()


def test_growths_that_no_assigner_has_are_refused():
    """Numbers of new partitions are among the partitions, ascending."""
    grown, _ = grow(first_assigner(0), grid_rows(1, 2), grid_rows(2, 20))
    tensors, meta = grown.state()

    with pytest.raises(CorruptError, match="grown"):
        assigner_from_state(tensors, {**meta, "grown": [9]})


def cloud(seed, count, centre, dims=8):
    """Rows around a place."""
    rows = np.random.default_rng(seed).normal(size=(count, dims))
    rows[:, 0] += centre
    return rows.astype(np.float32)


def all_of(rows):
    """Rows that stand for themselves alone."""
    return Drawn.single(rows, len(rows))


@pytest.fixture
def covered():
    """An assigner fitted on rows around two places, and such rows."""
    rows = np.concatenate([cloud(0, 400, 0), cloud(1, 400, 9)])
    atoms = np.arange(8, dtype=np.int32)
    points = rows[::100]
    return AtomAssigner(points, atoms, (atoms // 4).astype(np.int32), Bounds(200, 800), 800), rows


def test_rows_of_a_known_kind_give_no_atom(covered):
    """However many arrive."""
    assigner, rows = covered
    few, many = cloud(2, 90, 0), np.concatenate([cloud(3, 4000, 0), cloud(4, 4000, 9)])

    for arrived in (few, many):
        found = find_atoms(assigner, all_of(arrived), all_of(rows), 0)
        assert len(found.prototypes) == 0


def test_rows_between_the_atoms_are_found_among_others(covered):
    """A new kind that no distance to an atom tells lies in new atoms, a known kind does not."""
    assigner, rows = covered
    new, known = cloud(5, 300, 4.5), cloud(6, 300, 0)
    mixed = np.random.default_rng(7).permutation(np.concatenate([new, known]))

    found = find_atoms(assigner, all_of(mixed), all_of(rows), 0)
    guards = guards_among(assigner, found.prototypes, rows)
    grown = assigner.grown(found.prototypes, np.zeros(len(found.prototypes), np.int32), guards)

    assert found.share == pytest.approx(0.5, abs=0.15)
    assert (grown.assign(new) == 2).mean() > 0.7
    assert (grown.assign(known) == 2).mean() < 0.05
    assert (grown.assign(rows) < 2).all()


def test_a_few_units_far_from_all_others_are_no_new_kind(covered):
    """Each new patient lies apart; many that lie together are a kind."""
    assigner, rows = covered
    apart = np.concatenate([cloud(n, 50, 30 + 9 * n) for n in range(6)])
    together = cloud(11, 300, 30)
    unit = np.repeat(np.arange(6), 50)

    def atoms(arrived, unit):
        return len(find_atoms(assigner, Drawn(arrived, unit, 300), all_of(rows), 0).prototypes)

    assert atoms(apart, unit) == 0
    assert atoms(together, np.arange(300) % 40) > 0


def test_new_partitions_are_as_large_as_the_first_ones(covered):
    """Three means of rows make three partitions, few rows one."""
    assigner, _ = covered
    points = np.concatenate([cloud(8, 4, 20), cloud(9, 4, 40), cloud(10, 4, 60)])

    def partitions(each):
        rows = np.full(len(points), each)
        return int(merged(assigner, points, rows, KMEANS).max()) + 1

    assert (partitions(100), partitions(5)) == (3, 1)
