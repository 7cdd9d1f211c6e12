"""A mixture of experts whose gate and experts are trained together, every expert on every row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence


class SoftMixture(nn.Module):
    """Answers of all experts, weighted by a gate that sees the input.

    Args:
        experts: Models that give ``(rows, outputs)`` or ``(rows,)``.
        gate: Gives ``(rows, experts)``, before the softmax.
        classes: Whether answers are classes; the output is then logarithms of probabilities,
            which the cross-entropy takes as logits.

    Source:
        Jacobs, Jordan, Nowlan and Hinton 1991, equation 1.3 (the mixture's likelihood).
    """

    def __init__(self, experts: Sequence[nn.Module], gate: nn.Module, *, classes: bool) -> None:
        super().__init__()
        self.experts = nn.ModuleList(experts)
        self.gate = gate
        self._classes = classes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Log probabilities ``(rows, classes)``, or numbers ``(rows, 1)``."""
        answers = torch.stack([expert(x).reshape(len(x), -1) for expert in self.experts], dim=1)
        weight = self.gate(x)
        if not self._classes:
            return (torch.softmax(weight, dim=1)[:, :, None] * answers).sum(dim=1)
        logarithms = (
            torch.log_softmax(answers, dim=2) + torch.log_softmax(weight, dim=1)[:, :, None]
        )
        return torch.logsumexp(logarithms, dim=1)
