"""Base and specialists, and the mixing of their answers."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.training.model import predict, predictions
from shoal.training.tasks import rules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from numpy.typing import NDArray

    from shoal.training.tasks import Mixing

BASE = -1
GENERALIST = -2
"""Number of the expert that was trained on everything to the pool's total FLOPs."""


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
        weights: NDArray[np.float32],
    ) -> NDArray[Any]:
        """Mixed predictions of each row's experts.

        Args:
            x: Encoded rows ``(rows, …)``.
            experts: Partitions to ask, ``(rows, k)``; ``BASE`` is the base.
            weights: Their weights, ``(rows, k)``, each row summing to one.

        Returns:
            As :func:`predictions`, ``(rows, …)``; a row depends on no other.
        """
        first = next(iter(self.models.values()))
        if not len(x):
            return predictions(first, x, self._task, self._labels)
        return mixed(
            lambda expert, rows: predictions(
                self.models[expert], x, self._task, self._labels, rows
            ),
            experts,
            weights,
            rules(self._task).prediction_mixing(first),
        )


def mixed(
    answer: Callable[[int, NDArray[np.int64]], NDArray[Any]],
    experts: NDArray[np.int32],
    weights: NDArray[np.float32],
    mixing: Mixing = "mean",
) -> NDArray[Any]:
    """Mixed answers of each row's experts; there is a row at least.

    Args:
        answer: Answers of an expert to some of the rows, by their places, ``(places, …)``.
        experts: Partitions to ask, ``(rows, k)``; none twice a row with a weight above zero.
        weights: Their weights, ``(rows, k)``, each row summing to one.
        mixing: How they mix; see :data:`shoal.training.tasks.Mixing`. The first is the leading one
            of equal weights.
    """
    if mixing == "leading":
        lead = weights.argmax(axis=1)[:, None]
        experts, weights = np.take_along_axis(experts, lead, axis=1), np.ones_like(weights[:, :1])
    mixture: NDArray[Any] | None = None
    asked = np.nonzero(weights > 0)
    order = np.argsort(experts[asked], kind="stable")
    rows, shares, expert = asked[0][order], weights[asked][order], experts[asked][order]
    starts = np.flatnonzero(np.diff(expert, prepend=expert[0] - 1)).tolist()
    for start, stop in itertools.pairwise([*starts, len(rows)]):
        own = rows[start:stop]
        said = answer(int(expert[start]), own)
        share = shares[start:stop].reshape(-1, *[1] * (said.ndim - 1))
        if mixture is None:
            empty = np.inf if mixing == "density" else 0
            mixture = np.full((len(experts), *said.shape[1:]), empty, dtype=said.dtype)
        if mixing == "mean":
            mixture[own] += said * share
        elif mixing == "density":
            mixture[own] = -np.logaddexp(-mixture[own], np.log(share) - said)
        else:
            mixture[own] = said
    assert mixture is not None  # noqa: S101 - some expert has a weight
    return mixture
