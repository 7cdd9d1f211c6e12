"""Exact products and sums in one order."""

import numpy as np
import pytest

from shoal_edge.exact import ExactProduct, row_sums


@pytest.mark.parametrize("features", [1, 2, 3, 64, 65, 1000, 100_000])
def test_product_is_the_true_one_rounded_to_float32(features):
    """To the nearest number, or where that is hard to tell the next, for any number of features."""
    rng = np.random.default_rng(0)
    rows, weights = rng.normal(size=(5, features)), rng.normal(size=(features, 3))

    found = ExactProduct(weights)(rows)

    exact = rows.astype(np.longdouble) @ weights.astype(np.longdouble)
    assert found.dtype == np.float32
    assert (abs(found - exact) <= np.spacing(abs(found)) * (0.5 + 1e-4)).all()


def test_product_keeps_small_beside_large_numbers():
    """A weight of 1e-6 counts for a feature of 1e6 beside weights of 1."""
    found = ExactProduct(np.array([[1e-6], [1.0]]))(np.array([[1e6, 0.25]]))

    assert found.tolist() == [[1.25]]


def halfway(weights, rng):
    """Rows whose product is halfway between two float32 numbers, or some 1e-16 beside it."""
    rows = rng.normal(size=(400, len(weights))).astype(np.float32).astype(np.float64)
    near = (rows @ weights).astype(np.float32).astype(np.float64)
    rows[:, 0] += near + np.spacing(near.astype(np.float32)) / 2 - rows @ weights
    rows[:, 0] += rng.integers(-3, 4, len(rows)) * np.spacing(rows[:, 0])
    return rows


def test_products_halfway_between_two_numbers_are_rounded_as_the_exact_one():
    """Where the plain product, which rounds otherwise, leaves open what to round to."""
    rng = np.random.default_rng(4)
    weights = np.concatenate([[1.0], rng.normal(size=40)])
    rows, product = halfway(weights, rng), ExactProduct(weights[:, None])
    expected = product._exact(rows).astype(np.float32)

    found = product(rows)

    plain = (rows @ weights[:, None]).astype(np.float32)
    assert (plain != expected).any()
    np.testing.assert_array_equal(found, expected)


def test_few_rows_are_multiplied_exactly(monkeypatch):
    """A plain product settles nearly all, far from the origin, too."""
    rng = np.random.default_rng(5)
    rows = (1000 + rng.normal(size=(5000, 50))).astype(np.float32)
    product, asked = ExactProduct(rng.normal(size=(50, 9)), np.full(50, 1000.0)), []
    exact = product._exact
    monkeypatch.setattr(product, "_exact", lambda those: asked.extend(those) or exact(those))

    found = product(rows)

    assert len(asked) < 50
    np.testing.assert_array_equal(found, exact(rows - 1000.0).astype(np.float32))


@pytest.mark.parametrize("scale", [1e-250, 1e-45, 1.0, 1e38, 1e250])
def test_product_of_any_magnitude(scale):
    """Rows and weights may be far larger and smaller than float32 holds."""
    rows = np.array([[1.0, -2.0, 0.5]]) * scale

    found = ExactProduct(np.array([[3.0], [1.0], [4.0]]) / scale)(rows)

    assert found.tolist() == [[3.0]]


def test_rows_of_nothing_give_nothing():
    """Zeros give zeros, no rows no rows, and numbers too small for float64's range give zero."""
    product = ExactProduct(np.ones((2, 1)))

    assert product(np.zeros((1, 2))).tolist() == [[0]]
    assert product(np.full((1, 2), 5e-324)).tolist() == [[0]]
    assert product(np.empty((0, 2))).shape == (0, 1)


def test_a_row_that_is_not_finite_leaves_others_alone():
    """It gives NaN, without a warning."""
    rows = np.array([[1.0, 2.0], [np.inf, 0.0], [np.nan, 0.0], [3.0, 4.0]])

    found = ExactProduct(np.ones((2, 1)))(rows)[:, 0]

    np.testing.assert_array_equal(found, [3, np.nan, np.nan, 7])


@pytest.mark.parametrize("size", [1, 7, 255, 300])
def test_product_of_a_row_depends_on_no_other(size):
    """The same rows in another order and in batches of another size give the same bits."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(600, 50)).astype(np.float32)
    product = ExactProduct(rng.normal(size=(50, 9)))
    order = rng.permutation(600)

    parts = [product(rows[order][start : start + size]) for start in range(0, 600, size)]

    np.testing.assert_array_equal(np.concatenate(parts), product(rows)[order])


def test_every_partial_sum_is_exact():
    """Features in another order, so another order of additions, give the same bits."""
    rng = np.random.default_rng(2)
    rows, weights = rng.normal(size=(300, 77)), rng.normal(size=(77, 5))
    order = rng.permutation(77)

    whole = ExactProduct(weights)._exact(rows)

    assert (ExactProduct(weights[order])._exact(rows[:, order]) == whole).all()
    assert (rows[:, order] @ weights[order] != rows @ weights).any()


@pytest.mark.parametrize("width", [0, 1, 2, 5, 64, 101])
def test_row_sums_are_sums(width):
    """Sums over the last axis, whatever its length, do not depend on the memory's layout."""
    values = np.random.default_rng(3).normal(size=(4, 3, width))

    found = row_sums(values)

    np.testing.assert_allclose(found, values.sum(axis=-1), atol=1e-12)
    np.testing.assert_array_equal(row_sums(np.asfortranarray(values)), found)
