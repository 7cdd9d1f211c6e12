"""Mixing the answers of several experts."""

import numpy as np
import torch

from shoal.train_specialists.experts import Experts
from shoal_edge.routing import BASE


def linear(value: float) -> torch.nn.Module:
    net = torch.nn.Linear(1, 1)
    with torch.no_grad():
        net.weight.fill_(value)
        net.bias.zero_()
    return net


EXPERTS = Experts({BASE: linear(0), 0: linear(1), 1: linear(10)}, "regression")


def test_each_row_is_answered_by_its_own_expert():
    """Top 1: one specialist, its weight one; the base where the router says so."""
    x = np.array([[1.0], [2.0], [3.0]], dtype=np.float32)
    experts = np.array([[1], [BASE], [0]], dtype=np.int32)

    answer = EXPERTS.mix(x, experts, np.ones((3, 1), dtype=np.float32))

    assert answer[:, 0].tolist() == [10.0, 0.0, 3.0]


def test_two_experts_are_mixed_by_weight():
    """Top 2: the weighted mean; a slot of weight zero is not asked."""
    x = np.array([[1.0], [1.0]], dtype=np.float32)
    experts = np.array([[0, 1], [0, BASE]], dtype=np.int32)
    shares = np.array([[0.5, 0.5], [1.0, 0.0]], dtype=np.float32)

    assert EXPERTS.mix(x, experts, shares)[:, 0].tolist() == [5.5, 1.0]


def test_no_rows_have_no_answers():
    """Zero rows give an empty answer of the model's width."""
    nothing = np.empty((0, 1), dtype=np.float32)

    answer = EXPERTS.mix(nothing, np.empty((0, 1), np.int32), np.empty((0, 1), np.float32))

    assert answer.shape == (0, 1)
