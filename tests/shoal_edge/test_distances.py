"""Distances that do not depend on batch mates."""

import numpy as np
import pytest

from shoal_edge.distances import Targets, nearest_point
from shoal_edge.exact import BLOCK_ROWS, padded_blocks


def test_blocks_cover_every_row_once():
    """Padded blocks have one shape and hold the rows in order."""
    rows = np.arange(2 * (BLOCK_ROWS + 3), dtype=np.float32).reshape(-1, 2)

    blocks = list(padded_blocks(rows, "float64"))

    assert {block.shape for _, block in blocks} == {(BLOCK_ROWS, 2)}
    parts = [block[: place.stop - place.start] for place, block in blocks]
    np.testing.assert_array_equal(np.concatenate(parts), rows)


def test_nearest_points_are_those_of_all_distances():
    """In each group the choice and its squared distance are those of the plain formula."""
    rng = np.random.default_rng(0)
    rows, points = rng.normal(size=(700, 5)) + 100, rng.normal(size=(30, 5)) + 100
    starts = np.array([0, 1, 12])

    near = Targets(points).nearest(rows, starts)

    squared = ((rows[:, None] - points[None]) ** 2).sum(axis=2)
    groups = np.split(squared, starts[1:], axis=1)
    expected = np.stack([group.argmin(axis=1) for group in groups], axis=1) + starts
    np.testing.assert_array_equal(near.points, expected)
    np.testing.assert_allclose(near.squared, np.take_along_axis(squared, expected, axis=1))


def test_neighbours_are_those_of_all_distances():
    """The nearest points of each row are found, in the order of their index."""
    rng = np.random.default_rng(1)
    rows, points = rng.normal(size=(300, 3)), rng.normal(size=(40, 3))

    near = Targets(points).neighbours(rows, 7)

    squared = ((rows[:, None] - points[None]) ** 2).sum(axis=2)
    expected = np.sort(np.argsort(squared, axis=1)[:, :7], axis=1)
    np.testing.assert_array_equal(near.points, expected)
    np.testing.assert_allclose(near.squared, np.take_along_axis(squared, expected, axis=1))


def test_distance_to_itself_is_zero():
    """The distance that is reported is exact, also far from the origin."""
    points = np.array([[1e4, -1e4], [3e4, 1e4]])

    np.testing.assert_array_equal(Targets(points).nearest(points).squared, np.zeros((2, 1)))


def test_ties_go_to_the_lowest_point():
    """A row between two points belongs to the first, and of equal points the first are chosen."""
    points = np.array([[1.0], [-1.0], [1.0]])

    assert nearest_point(np.zeros((1, 1)), points).tolist() == [0]
    assert Targets(points).neighbours(np.ones((1, 1)), 1).points.tolist() == [[0]]
    assert Targets(points).neighbours(np.zeros((1, 1)), 2).points.tolist() == [[0, 1]]


def test_what_the_product_cannot_tell_apart_is_told_apart():
    """Far from the origin the nearest point is found where the expanded square sees noise."""
    rng = np.random.default_rng(2)
    points = 1e6 + rng.normal(size=(50, 8)) * 1e-6
    rows = points[rng.permutation(50)] + rng.normal(size=(50, 8)) * 1e-8

    squared = ((rows[:, None] - points[None]) ** 2).sum(axis=2)

    assert (((rows @ points.T) * -2 + (points**2).sum(1)).argmin(1) != squared.argmin(1)).any()
    np.testing.assert_array_equal(nearest_point(rows, points), squared.argmin(axis=1))


def test_a_row_that_is_no_number_has_no_distance():
    """It gets the first point of each group, and leaves other rows as they are."""
    rows = np.array([[1.0], [np.nan], [3.0]])

    targets = Targets(np.array([[0.0], [3.0], [1.0]]))
    near = targets.nearest(rows, np.array([0, 1]))

    assert near.points.tolist() == [[0, 2], [0, 1], [0, 1]]
    np.testing.assert_array_equal(near.squared, [[1, 0], [np.nan, np.nan], [9, 0]])
    assert targets.neighbours(rows, 2).points.tolist() == [[0, 2], [0, 1], [1, 2]]


@pytest.mark.parametrize("size", [1, 7, 255, 256, 300])
def test_distances_do_not_depend_on_batch_mates(size):
    """The same rows in batches of another size, in another order, give the same bits."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(700, 19)).astype(np.float32)
    targets, starts = Targets(rng.normal(size=(37, 19))), np.array([0, 9, 10])
    order = rng.permutation(len(rows))

    whole = targets.nearest(rows, starts)
    batches = [rows[order][start : start + size] for start in range(0, len(rows), size)]

    parts = [targets.nearest(batch, starts) for batch in batches]
    np.testing.assert_array_equal(np.concatenate([part.points for part in parts]), whole[0][order])
    np.testing.assert_array_equal(np.concatenate([part.squared for part in parts]), whole[1][order])
