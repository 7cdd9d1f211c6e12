"""Base and specialists, and the mixing of their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.training.model import predict, predictions
from shoal.training.tasks import rules
from shoal_edge.mixing import mixed, mixed_parts

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import torch
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Places = NDArray[np.int64]


class Experts:
    """Base and specialists, each the user's model with its own weights."""

    def __init__(self, models: Mapping[int, torch.nn.Module], task: str, labels: int = 1) -> None:
        """Keep the models.

        Args:
            models: By partition; ``BASE`` is the base.
            task: ``classification``, ``regression`` or ``own``.
            labels: How many labels there are in training.
        """
        self.models = models
        self._task = task
        self._labels = labels

    def answer(
        self, expert: int, x: NDArray[Any], y: NDArray[Any] | None = None
    ) -> NDArray[np.float32]:
        """One expert's answers about rows and their labels, as :func:`predict`."""
        return predict(self.models[expert], x, self._task, y=y)

    def mix(
        self,
        x: NDArray[Any],
        experts: NDArray[np.int32],
        weights: Floats,
        y: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Mixed predictions of each row's experts, or answers about labelled rows.

        Args:
            x: Encoded rows ``(rows, …)``.
            experts: Partitions to ask, ``(rows, k)``; ``BASE`` is the base.
            weights: Their weights, ``(rows, k)``, each row summing to one.
            y: Labels of the rows, of which there is one at least.

        Returns:
            As :func:`predictions`, ``(rows, …)``, with labels as :meth:`answer`; a row depends on
            no other.
        """
        first = next(iter(self.models.values()))
        if y is not None:
            return mixed(
                lambda expert, own: self.answer(expert, x[own], y[own]),
                experts,
                weights,
                rules(self._task).mixing(first),
            )
        if not len(x):
            return predictions([(first, None)], x, self._task, self._labels)
        return mixed_parts(
            lambda parts: predictions(
                [(self.models[expert], own) for expert, own in parts], x, self._task, self._labels
            ),
            experts,
            weights,
            rules(self._task).prediction_mixing(first),
        )
