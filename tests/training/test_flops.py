"""FLOPs of models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from shoal.models import MLP, ConvNet
from shoal.training.flops import Counting, counting, forward_flops

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS, STEPS, WIDE = 4, 6, 8
"""Rows, steps of their sequences, and inputs of each step."""
PRODUCT = 2 * ROWS * STEPS
"""FLOPs for each weight that every step of every row meets."""


class Calls(nn.Module):
    """Parts, called by a function of them and the rows."""

    def __init__(self, call: Callable[..., torch.Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.call = call
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The function's result."""
        return self.call(self, x)


def attended(parts: Calls, x: torch.Tensor) -> torch.Tensor:
    """Rows as a sequence, attended by one head."""
    queries = parts.project(x)[:, None]
    return nn.functional.scaled_dot_product_attention(queries, queries, queries).sum((1, 2))


def last(parts: Calls, x: torch.Tensor) -> torch.Tensor:
    """The last state of recurrent units."""
    return parts.units(x)[0][:, -1]


def by_heads(parts: Calls, x: torch.Tensor) -> torch.Tensor:
    """Rows that several heads attend."""
    return parts.heads(x, x, x, need_weights=False)[0]


SEQUENCES = (ROWS, STEPS, WIDE)
NETS = {
    "mlp": (MLP(8, 4, 16, 2), (32, 8)),
    "conv": (ConvNet([8, 8], 3, 5), (4, 8, 8)),
    "transposed": (
        nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.ConvTranspose2d(6, 2, 2)),
        (4, 3, 8, 8),
    ),
    "encoder": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), SEQUENCES),
    "recurrent": (Calls(last, units=nn.GRU(8, 5, batch_first=True)), SEQUENCES),
}


def step(net: nn.Module, shape: tuple[int, ...], trains: bool) -> None:
    """A pass forward, and backward if it trains."""
    x = torch.zeros(shape)
    net.train(trains)
    with torch.set_grad_enabled(trains):
        output = net(x)
        if trains:
            output.square().mean().backward()


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("trains", [True, False])
def test_flops_are_those_that_torch_counts(name, trains):
    """Forward alone, and with the backward pass, for each kind of layer."""
    net, shape = NETS[name]
    counter = FlopCounterMode(display=False)
    with Counting(counter):
        step(net, shape, trains)
    with FlopCounterMode(display=False) as expected:
        step(net, shape, trains)

    assert counter.get_total_flops() == expected.get_total_flops()
    assert counter.get_total_flops() > 0 or not trains


BY_HAND = {
    # Four gates of five units, each with a weight for every input and for every state.
    "lstm": (
        Calls(last, units=nn.LSTM(8, 5, batch_first=True)),
        PRODUCT * 4 * 5 * (8 + 5),
        3,
    ),
    # The second layer's inputs are the five states of both directions.
    "lstm, two layers, both directions": (
        Calls(last, units=nn.LSTM(8, 5, 2, batch_first=True, bidirectional=True)),
        PRODUCT * 2 * 4 * 5 * ((8 + 5) + (2 * 5 + 5)),
        3,
    ),
    # Scores and their weighted sum; backward again the scores, and two products for each of both.
    "attention": (
        Calls(attended, project=nn.Linear(8, 8)),
        PRODUCT * 8 * 8 + 2 * PRODUCT * STEPS * 8,
        None,
    ),
    # Three projections and the one after, and attention.
    "heads": (
        Calls(by_heads, heads=nn.MultiheadAttention(8, 2, batch_first=True)),
        PRODUCT * 4 * 8 * 8 + 2 * PRODUCT * STEPS * 8,
        None,
    ),
    "vector": (Calls(lambda own, x: x @ own.net.weight[0], net=nn.Linear(8, 1)), PRODUCT * 8, 2),
    "bilinear": (
        Calls(lambda own, x: own.net(x, x), net=nn.Bilinear(8, 8, 3)),
        PRODUCT * 8 * 8 * 3,
        2,
    ),
    "einsum": (
        Calls(lambda own, x: torch.einsum("rsi,oi->rso", x, own.net.weight), net=nn.Linear(8, 3)),
        PRODUCT * 8 * 3,
        2,
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_flops_of_operations_that_torch_does_not_count(name):
    """Forward by hand; with the backward pass, that often as many."""
    net, flops, passes = BY_HAND[name]

    assert forward_flops(net, torch.zeros(SEQUENCES)) == flops
    if passes is not None:
        with counting() as counter:
            step(net, SEQUENCES, trains=True)
        assert counter.get_total_flops() == passes * flops


def test_attention_costs_backward_what_torch_says_of_other_devices():
    """Five products for two forward."""
    net = Calls(attended, project=nn.Linear(8, 8))
    with counting() as counter:
        step(net, SEQUENCES, trains=True)

    assert counter.get_total_flops() == 2 * PRODUCT * 8 * 8 + (2 + 5) * PRODUCT * STEPS * 8


def test_a_fused_encoder_counts_as_its_parts():
    """Evaluation calls one operation for all of a layer, where training calls one for each part."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    attention = PRODUCT * 4 * 8 * 8 + 2 * PRODUCT * STEPS * 8

    assert forward_flops(layer, torch.zeros(SEQUENCES)) == attention + PRODUCT * 2 * 8 * 16
