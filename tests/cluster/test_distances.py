"""Distances that do not depend on batch mates."""

import numpy as np
import pytest

from shoal.blocks import BLOCK_ROWS, padded_blocks
from shoal.cluster.distances import Targets, nearest_point


def test_blocks_cover_every_row_once():
    """Padded blocks have one shape and hold the rows in order."""
    rows = np.arange(2 * (BLOCK_ROWS + 3), dtype=np.float32).reshape(-1, 2)

    blocks = list(padded_blocks(rows, "float64"))

    assert {block.shape for _, block in blocks} == {(BLOCK_ROWS, 2)}
    parts = [block[: place.stop - place.start] for place, block in blocks]
    np.testing.assert_array_equal(np.concatenate(parts), rows)


def test_squared_distances_are_the_formula():
    """The expanded square equals the sum of squared differences."""
    rng = np.random.default_rng(0)
    block, points = rng.normal(size=(BLOCK_ROWS, 5)), rng.normal(size=(7, 5))

    expected = ((block[:, None] - points[None]) ** 2).sum(axis=2)

    np.testing.assert_allclose(Targets(points).squared(block), expected, atol=1e-12)


def test_distance_to_itself_is_zero():
    """The distance that is reported is exact, also far from the origin."""
    points = np.array([[1e4, -1e4], [3e4, 1e4]])

    distance = Targets(points).to(points, np.array([[0], [1]]))

    np.testing.assert_array_equal(distance, np.zeros((2, 1), np.float32))


def test_ties_go_to_the_lowest_point():
    """A row between two points belongs to the first."""
    assert nearest_point(np.zeros((1, 1)), np.array([[1.0], [-1.0]])).tolist() == [0]


@pytest.mark.parametrize("size", [1, 7, 255, 256, 300])
def test_squared_distances_do_not_depend_on_batch_mates(size):
    """The same rows in batches of another size, in another order, give the same bits."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(700, 19)).astype(np.float32)
    targets = Targets(rng.normal(size=(37, 19)))
    order = rng.permutation(len(rows))

    whole = _squared(targets, rows)
    parts = [_squared(targets, rows[order][s : s + size]) for s in range(0, len(rows), size)]

    np.testing.assert_array_equal(np.concatenate(parts), whole[order])


def _squared(targets, rows):
    blocks = padded_blocks(rows, "float64")
    return np.concatenate([targets.squared(b)[: p.stop - p.start] for p, b in blocks])
