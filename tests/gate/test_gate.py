"""The gate in a pool."""

import numpy as np

from shoal.gate.gate import Gate
from shoal.train_router.router import BASE, Routes
from shoal.train_specialists.experts import GENERALIST


def routes():
    """Three rows: led by specialist 0, by specialist 1, by the base."""
    experts = np.array([[0, 1], [0, 1], [BASE, BASE]], dtype=np.int32)
    weights = np.array([[0.7, 0.3], [0.4, 0.6], [1.0, 0.0]], dtype=np.float32)
    return Routes(experts, weights, np.zeros(3, dtype=np.float32))


def test_rows_that_a_closed_expert_leads_go_to_the_generalist_alone():
    """The others keep their experts and weights, also those that a closed one has a share in."""
    gated = Gate(frozenset([1, BASE])).apply(routes())
    assert gated.experts.tolist() == [[0, 1], [GENERALIST, BASE], [GENERALIST, BASE]]
    np.testing.assert_allclose(gated.weights, [[0.7, 0.3], [1, 0], [1, 0]])


def test_an_open_gate_changes_nothing():
    """Where every specialist serves, routes stay as they are."""
    before = routes()
    after = Gate(frozenset()).apply(before)
    assert all((a == b).all() for a, b in zip(after, before, strict=True))
