"""The gate in a pool."""

import numpy as np
import pytest

from shoal.gate.gate import Gate
from shoal_edge.routing import BASE, GENERALIST, Routes


def routes():
    """Three rows: led by specialist 0, by specialist 1, by the base."""
    experts = np.array([[0, 1], [0, 1], [BASE, BASE]], dtype=np.int32)
    weights = np.array([[0.7, 0.3], [0.4, 0.6], [1.0, 0.0]], dtype=np.float32)
    return Routes(experts, weights, np.zeros(3, np.float32), np.zeros(3, np.int32))


def test_an_expert_without_a_share_leaves_its_rows_to_the_generalist_alone():
    """The others keep their experts and weights, also those that it has a part in."""
    gated = Gate({BASE: 0.0, 0: 1.0, 1: 0.0}).apply(routes())

    asked = [
        dict(zip(*row, strict=True)) for row in zip(*map(np.ndarray.tolist, gated[:2]), strict=True)
    ]
    assert [{n for n, weight in row.items() if weight} for row in asked] == [
        {0, 1},
        {GENERALIST},
        {GENERALIST},
    ]
    assert gated.leading.tolist() == [0, GENERALIST, GENERALIST]
    np.testing.assert_array_equal(gated.weights[0, :2], routes().weights[0])
    assert (gated.experts[gated.weights == 0] == BASE).all()


def test_specialists_mix_first_then_the_share_of_the_leading_one():
    """Three models are asked at most, and their weights sum to one."""
    gated = Gate({BASE: 0.0, 0: 0.5, 1: 0.25}).apply(routes())

    assert gated.experts.tolist()[:2] == [[0, 1, GENERALIST], [0, 1, GENERALIST]]
    np.testing.assert_allclose(gated.weights[0], [0.35, 0.15, 0.5])
    np.testing.assert_allclose(gated.weights[1], [0.1, 0.15, 0.75])
    np.testing.assert_allclose(gated.weights.sum(axis=1), 1, rtol=1e-6)


def test_of_equal_weights_the_specialist_leads():
    """A row to which specialist and generalist say as much is the specialist's."""
    experts, distance = np.array([[3]], np.int32), np.zeros(1, np.float32)
    one = Routes(experts, np.ones((1, 1), np.float32), distance, experts[:, 0])

    assert Gate({BASE: 0.0, 3: 0.5}).apply(one).leading.tolist() == [3]
    assert Gate({BASE: 0.0, 3: 0.25}).apply(one).leading.tolist() == [GENERALIST]


@pytest.mark.parametrize("shares", [{BASE: 1.0, 0: 1.0, 1: 1.0}, {BASE: 0.0, 0: 1.0, 1: 1.0}])
def test_specialists_with_all_of_the_share_answer_as_before(shares):
    """A gate changes no weight of theirs."""
    before = routes()
    after = Gate(shares).apply(before)
    np.testing.assert_array_equal(after.weights[:2, :2], before.weights[:2])
    assert Gate(shares).asks_generalist == (shares[BASE] == 0)


def test_a_row_that_asks_a_specialist_which_is_not_there_is_the_generalist_s():
    """Whichever of its specialists lacks; one of weight 0 is not asked."""
    experts = np.array([[0, 1], [1, 2], [2, 0], [0, BASE]], dtype=np.int32)
    weights = np.array([[0.7, 0.3], [0.9, 0.1], [0.6, 0.4], [1.0, 0.0]], dtype=np.float32)
    before = Routes(experts, weights, np.zeros(4, np.float32), experts[:, 0])

    after = Gate({BASE: 0.0, 0: 1.0, 1: 1.0}).apply(before)

    assert after.leading.tolist() == [0, GENERALIST, GENERALIST, 0]
    np.testing.assert_array_equal(after.weights[[0, 3], :2], weights[[0, 3]])
    np.testing.assert_array_equal(after.weights[1:3], [[0, 0, 1]] * 2)
    alone = Gate({BASE: 1.0, 0: 1.0, 1: 1.0}).apply(before)
    assert alone.leading.tolist() == [0, BASE, BASE, 0]
    assert alone.partition.tolist() == [0, 1, 2, 0]
