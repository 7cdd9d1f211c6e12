"""Nearest neighbours and highest activations."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from shoal.errors import ModelError
from shoal.explore.intermediates.ask import nearest, top, unit_of


def in_blocks(values, size, seed=0):
    """The rows in blocks of a size, in a shuffled order."""
    starts = np.random.default_rng(seed).permutation(np.arange(0, len(values), size))
    for start in starts:
        stop = min(start + size, len(values))
        yield np.arange(start, stop), values[start:stop]


@pytest.fixture
def values():
    """Activations of 500 rows, many of them equal."""
    return np.random.default_rng(0).integers(0, 3, size=(500, 2, 3)).astype(np.float32)


def test_neighbours_are_those_of_scikit_learn():
    """Distances agree with those of a brute-force search over all rows at once."""
    rows = np.random.default_rng(0).normal(size=(400, 12)).astype(np.float32)
    queries = np.concatenate([rows, rows]) + np.float32(0.01)

    found = nearest(in_blocks(rows, 33), queries, 5)

    expected = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(rows.astype(float))
    distances, places = expected.kneighbors(queries.astype(float))
    assert np.array_equal(found.places, places)
    np.testing.assert_allclose(found.values, distances, rtol=1e-9)


@pytest.mark.parametrize("size", [1, 7, 500])
def test_answers_do_not_depend_on_blocks(values, size):
    """Equal distances and activations are ordered by the rows' numbers, however they come."""
    expected = nearest(in_blocks(values, 500), values[:3], 10)
    found = nearest(in_blocks(values, size, seed=size), values[:3], 10)
    assert np.array_equal(found.places, expected.places)
    assert (np.diff(found.places[0][found.values[0] == 0]) > 0).all()

    highest = top(in_blocks(values, size, seed=size), 4, 10)
    flat = values.reshape(500, 6)[:, 4]
    assert highest.places[0].tolist() == np.flatnonzero(flat == 2)[:10].tolist()
    assert highest.values[0].tolist() == [2.0] * 10


def test_a_row_is_not_its_own_neighbour(values):
    """The row that is asked for is left out, another with the same values is not."""
    values[9] = values[5]

    found = nearest(in_blocks(values, 50), values[5:6], 3, np.array([5]))

    assert 5 not in found.places
    assert found.values[0, 0] == 0


def test_fewer_rows_than_asked_for_are_all_there_is(values):
    """There may be fewer rows than k; no row comes twice."""
    found = nearest(in_blocks(values[:4], 3), values[:1], 10, np.array([0]))

    assert sorted(found.places[0].tolist()) == [1, 2, 3]
    assert top(in_blocks(values[:4], 3), 0, 10).places.shape == (1, 4)


def test_what_is_no_number_is_never_found():
    """NaN has no distance and no rank."""
    rows = np.array([[np.nan], [1.0], [2.0]], np.float32)

    assert nearest(in_blocks(rows, 2), np.zeros((1, 1)), 3).places.tolist() == [[1, 2]]
    assert top(in_blocks(rows, 2), 0, 3).places.tolist() == [[2, 1]]


@pytest.mark.parametrize(("text", "unit"), [("0", 0), ("11", 11), ("1,2", 6), ("2,3", 11)])
def test_a_unit_has_a_number_or_a_place(text, unit):
    """A unit is named by its place in the flattened row, or in each dimension."""
    assert unit_of(text, (3, 4)) == unit


@pytest.mark.parametrize("text", ["12", "3,0", "1,2,3", "-1", "a", ""])
def test_a_unit_that_is_none_is_named(text):
    """The message says how many there are."""
    with pytest.raises(ModelError, match=rf"unit '{text}': the layer gives 12 units.*\(3, 4\)"):
        unit_of(text, (3, 4))
