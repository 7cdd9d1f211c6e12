"""Small plain models for the experiments that ship with Shoal."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch


class MLP(nn.Module):
    """Fully connected network with ReLU between layers; images are flattened.

    Args:
        features: Input features of a row.
        outputs: Classes, or 1 for a number.
        width: Units of each hidden layer.
        depth: Hidden layers.
    """

    def __init__(self, features: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        # One after the other, and no list of sizes: a stored depth may be any number.
        sizes = itertools.chain([features], itertools.repeat(width, depth))
        hidden = [
            layer
            for inputs, units in itertools.pairwise(sizes)
            for layer in (nn.Linear(inputs, units), nn.ReLU())
        ]
        last = width if hidden else features
        self.layers = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(last, outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits or numbers, ``(rows, outputs)``."""
        result: torch.Tensor = self.layers(x)
        return result


def has_channels_last(shape: Sequence[int]) -> bool:
    """Whether an image of three axes has its channels last: at most 4 of them, and more rows."""
    return shape[-1] <= 4 < shape[0]


def channels_first(images: torch.Tensor) -> torch.Tensor:
    """Images ``(rows, channels, height, width)`` from those with channels last or without."""
    if images.ndim == 3:
        return images.unsqueeze(1)
    return images.permute(0, 3, 1, 2) if has_channels_last(images.shape[1:]) else images


def channels_and_sides(shape: Sequence[int]) -> tuple[int, list[int]]:
    """Channels of an image, and its height and width, from its shape as :func:`channels_first`."""
    if len(shape) != 3:
        return 1, list(shape)
    channels, *sides = (shape[-1], *shape[:-1]) if has_channels_last(shape) else shape
    return channels, sides


class ConvNet(nn.Module):
    """Two strided convolutions and a linear layer, for small images.

    Args:
        shape: Height and width of an image, channels before or after them where there are any.
        outputs: Classes, or 1 for a number.
        channels: Channels of the first convolution; the second has twice as many.
    """

    def __init__(self, shape: Sequence[int], outputs: int, channels: int) -> None:
        super().__init__()
        own, sides = channels_and_sides(shape)
        sides = [math.ceil(math.ceil(side / 2) / 2) for side in sides]
        self.layers = nn.Sequential(
            nn.Conv2d(own, channels, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * channels * math.prod(sides), outputs),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits or numbers, ``(rows, outputs)``, from images ``(rows, *shape)``."""
        result: torch.Tensor = self.layers(channels_first(x))
        return result
