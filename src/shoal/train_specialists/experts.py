"""Base and specialists, and the mixing of their answers."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from shoal.training.model import predict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from numpy.typing import NDArray

BASE = -1
GENERALIST = -2
"""Number of the expert that was trained on everything to the pool's total FLOPs."""


class Experts:
    """Base and specialists, each the user's model with its own weights."""

    def __init__(self, models: Mapping[int, torch.nn.Module], task: str) -> None:
        """Keep the models.

        Args:
            models: By partition; ``BASE`` is the base.
            task: ``classification`` or ``regression``.
        """
        self.models = models
        self._task = task

    def answer(self, expert: int, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """One expert's probabilities ``(rows, classes)`` or numbers ``(rows, 1)``."""
        return predict(self.models[expert], x, self._task)

    def mix(
        self,
        x: NDArray[np.float32],
        experts: NDArray[np.int32],
        weights: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Weighted mean of the answers of each row's experts.

        Args:
            x: Encoded rows, float32 ``(rows, …)``.
            experts: Partitions to ask, ``(rows, k)``; ``BASE`` is the base.
            weights: Their weights, ``(rows, k)``, each row summing to one.

        Returns:
            float32 ``(rows, classes)`` or ``(rows, 1)``; a row depends on no other.
        """
        if not len(x):
            return self.answer(next(iter(self.models)), x)
        return mixed(
            lambda expert, rows: predict(self.models[expert], x, self._task, rows), experts, weights
        )


def mixed(
    answer: Callable[[int, NDArray[np.int64]], NDArray[np.float32]],
    experts: NDArray[np.int32],
    weights: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Weighted mean of the answers of each row's experts; there is a row at least.

    Args:
        answer: Answers of an expert to some of the rows, by their places.
        experts: Partitions to ask, ``(rows, k)``; none twice a row with a weight above zero.
        weights: Their weights, ``(rows, k)``, each row summing to one.
    """
    mixture = np.empty(0, dtype=np.float32)
    asked = np.nonzero(weights > 0)
    order = np.argsort(experts[asked], kind="stable")
    rows, shares, expert = asked[0][order], weights[asked][order], experts[asked][order]
    starts = np.flatnonzero(np.diff(expert, prepend=expert[0] - 1)).tolist()
    for start, stop in itertools.pairwise([*starts, len(rows)]):
        own = rows[start:stop]
        weighted = answer(int(expert[start]), own) * shares[start:stop, None]
        if not len(mixture):
            mixture = np.zeros((len(experts), weighted.shape[1]), dtype=np.float32)
        mixture[own] += weighted
    return mixture
