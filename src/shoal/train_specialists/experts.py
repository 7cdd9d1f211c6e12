"""Base and specialists, and the mixing of their answers."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from shoal.training.model import predict

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from numpy.typing import NDArray

BASE = -1


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
            experts: Partitions to ask, ``(rows, k)``; ``BASE`` is the base. None twice a row with
                a weight above zero.
            weights: Their weights, ``(rows, k)``, each row summing to one.

        Returns:
            float32 ``(rows, classes)`` or ``(rows, 1)``; a row depends on no other.
        """
        mixed: NDArray[np.float32] | None = None
        asked = np.nonzero(weights > 0)
        order = np.argsort(experts[asked], kind="stable")
        rows, share, expert = asked[0][order], weights[asked][order], experts[asked][order]
        starts = np.flatnonzero(np.diff(expert, prepend=expert[:1] - 1))
        for start, stop in itertools.pairwise([*starts.tolist(), len(expert)]):
            own, model = rows[start:stop], self.models[int(expert[start])]
            answer = predict(model, x, self._task, own) * share[start:stop, None]
            if mixed is None:
                mixed = np.zeros((len(x), answer.shape[1]), dtype=np.float32)
            mixed[own] += answer
        return self.answer(next(iter(self.models)), x) if mixed is None else mixed
