"""A model whose specialists share their first layers, since nothing trains them."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence


class FrozenTrunk(torch.nn.Module):
    """Convolutions that stay as they were drawn, and a head that is trained.

    Args:
        shape: Height and width of an image.
        outputs: Classes.
        channels: Channels of each convolution.
    """

    def __init__(self, shape: Sequence[int], outputs: int, channels: int) -> None:
        super().__init__()
        sizes = [1, channels, channels, channels]
        self.trunk = torch.nn.Sequential()
        for before, after in itertools.pairwise(sizes):
            self.trunk.append(torch.nn.Conv2d(before, after, kernel_size=3, padding=1))
            self.trunk.append(torch.nn.ReLU())
        self.trunk.requires_grad_(False)
        features = channels * math.prod(shape)
        self.head = torch.nn.Sequential(
            torch.nn.Flatten(),
            torch.nn.Linear(features, 32),
            torch.nn.ReLU(),
            torch.nn.Linear(32, outputs),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits, ``(rows, outputs)``, of images ``(rows, height, width)``."""
        result: torch.Tensor = self.head(self.trunk(x.unsqueeze(1)))
        return result
