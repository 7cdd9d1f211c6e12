"""The small models that ship with Shoal."""

from __future__ import annotations

import pytest
import torch

from shoal.embed.neural import ImageEncoder
from shoal.models import ConvNet


@pytest.mark.parametrize("network", [ConvNet, lambda shape, *a: ImageEncoder(shape, *a, 2)])
def test_channels_may_come_first_or_last(network):
    """Colour images give the same output in either order, one channel the same as none."""
    images = torch.rand(2, 3, 9, 8, generator=torch.Generator().manual_seed(0))

    def output(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(0)
        return network(list(x.shape[1:]), 2, 4)(x)

    assert torch.equal(output(images), output(images.permute(0, 2, 3, 1)))
    assert torch.equal(output(images[:, 0]), output(images[:, :1]))
    assert not torch.equal(output(images), output(images.flip(1)))
