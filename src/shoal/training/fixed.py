"""Training a share of a model's weights, with all others as they are.

A model is trained twice: the first time says which weights move most, the second time these alone
are trained, so that they make up for the others.

Source: the masked retraining of Prapas et al. 2021, Continuous training and deployment of deep
learning models.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from shoal.training.fit import train_on_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from shoal.formats.ledger import Ledger
    from shoal.formats.shapes import Shapes
    from shoal.settings.learning import Training
    from shoal.training.early import Held
    from shoal.training.resume import Checkpoints


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
    model: torch.nn.Module,
    arrays: Mapping[str, NDArray[Any]],
    training: Training,
    shapes: Shapes,
    rows: int,
    ledger: Ledger,
    checkpoints: Checkpoints,
    held: Held | None,
    share: float,
) -> None:
    """Train ``model`` in place twice from where it is, at last a share of its weights alone.

    Both trainings see about ``rows`` rows, at most, and the ledger is charged for both.

    Args:
        model: The user's model.
        arrays: ``x`` and ``y``, in canonical order.
        training: Loss, optimiser and order.
        shapes: Shapes of rows and labels.
        rows: Rows to see in each training, repeats counted.
        ledger: Is charged.
        checkpoints: The job's.
        held: Validation rows by which both may stop early, if the settings say so.
        share: Share of the weights that moves, at most.
    """
    state = {name: value.clone() for name, value in model.state_dict().items()}
    parameters = [own for own in model.parameters() if own.requires_grad]
    start = [own.detach().clone() for own in parameters]
    train_on_rows(model, arrays, training, shapes, rows, ledger, checkpoints, held=held)
    fixed = Fixed(parameters, start, share)
    model.load_state_dict(state)
    train_on_rows(
        model, arrays, training, shapes, rows, ledger, checkpoints, held=held, fixed=fixed
    )
    fixed.put_back()  # of what a module changes when its training is over
