"""Training a share of a model's weights, with all others as they are.

A model is trained twice: the first time says which weights move most, the second time these alone
are trained, so that they make up for the others.

Source: the masked retraining of Prapas et al. 2021, Continuous training and deployment of deep
learning models.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Fixed:
    """Weights that a training leaves as they are: all but those that moved most since a start."""

    def __init__(
        self, parameters: Sequence[torch.nn.Parameter], start: Sequence[torch.Tensor], share: float
    ) -> None:
        """Choose them by how far the parameters are from their start.

        Args:
            parameters: The parameters, over all of which together the share is taken.
            start: What they were, which fixed ones are put back to.
            share: Share of the weights that is not fixed.
        """
        moved = torch.cat(
            [
                (now.detach().double() - before.double()).abs().flatten()
                for now, before in zip(parameters, start, strict=True)
            ]
        )
        fixed = torch.ones(len(moved), dtype=torch.bool)
        fixed[moved.argsort(descending=True, stable=True)[: math.ceil(share * len(moved))]] = False
        parts = torch.split(fixed, [before.numel() for before in start])
        self._parameters = parameters
        self._start = [
            (part.view_as(before), before) for part, before in zip(parts, start, strict=True)
        ]

    def put_back(self) -> None:
        """Put the fixed weights back to their start; call it after each step."""
        device = self._parameters[0].device
        if self._start[0][1].device != device:
            self._start = [(part.to(device), before.to(device)) for part, before in self._start]
        with torch.no_grad():
            for parameter, (part, before) in zip(self._parameters, self._start, strict=True):
                parameter.copy_(torch.where(part, before, parameter))


def train_share(
    model: torch.nn.Module, share: float, train: Callable[[Fixed | None], None]
) -> None:
    """Train a model in place twice from where it is, at last a share of its weights alone.

    Args:
        model: The user's model.
        share: Share of the weights that moves, at most.
        train: Trains it in place, and leaves some weights as they are if it is given such.
    """
    state = {name: value.clone() for name, value in model.state_dict().items()}
    parameters = [own for own in model.parameters() if own.requires_grad]
    start = [own.detach().clone() for own in parameters]
    train(None)
    fixed = Fixed(parameters, start, share)
    model.load_state_dict(state)
    train(fixed)
    fixed.put_back()  # of what a module changes when its training is over
