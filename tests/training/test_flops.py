"""FLOPs of models."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from shoal.models import MLP, ConvNet
from shoal.training.flops import Counting


class Attention(nn.Module):
    """Rows as a sequence of eight, attended by one head."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Sums over the sequence."""
        queries = self.project(x)[:, None]
        return nn.functional.scaled_dot_product_attention(queries, queries, queries).sum((1, 2))


class Recurrent(nn.Module):
    """A network of gated units, whose parts are called by one operation of torch's."""

    def __init__(self) -> None:
        super().__init__()
        self.units = nn.GRU(8, 5, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The last state."""
        states, _ = self.units(x)
        return states[:, -1]


NETS = {
    "mlp": (MLP(8, 4, 16, 2), (32, 8)),
    "conv": (ConvNet([8, 8], 3, 5), (4, 8, 8)),
    "transposed": (
        nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.ConvTranspose2d(6, 2, 2)),
        (4, 3, 8, 8),
    ),
    "attention": (Attention(), (4, 6, 8)),
    "encoder": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (4, 6, 8)),
    "recurrent": (Recurrent(), (4, 6, 8)),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("trains", [True, False])
def test_flops_are_those_that_torch_counts(name, trains):
    """Forward alone, and with the backward pass, for each kind of layer."""
    net, shape = NETS[name]
    x = torch.randn(shape)
    net.train(trains)

    def step() -> None:
        if trains:
            net(x).square().mean().backward()
        else:
            with torch.no_grad():
                net(x)

    counter = FlopCounterMode(display=False)
    with Counting(counter):
        step()
    with FlopCounterMode(display=False) as expected:
        step()

    assert counter.get_total_flops() == expected.get_total_flops()
    assert counter.get_total_flops() > 0 or not trains
