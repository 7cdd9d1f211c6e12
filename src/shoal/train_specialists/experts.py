"""Base and specialists, and the mixing of their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.training.model import predict, predictions
from shoal.training.tasks import rules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from numpy.typing import NDArray

    from shoal.training.tasks import Mixing

    Floats = NDArray[np.float32]
    Places = NDArray[np.int64]

BASE = -1
_SHORT = 2**15
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
        return _mixed(
            lambda parts: predictions(
                [(self.models[expert], own) for expert, own in parts], x, self._task, self._labels
            ),
            experts,
            weights,
            rules(self._task).prediction_mixing(first),
        )


def mixed(
    answer: Callable[[int, Places], NDArray[Any]],
    experts: NDArray[np.int32],
    weights: Floats,
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
    return _mixed(
        lambda parts: np.concatenate([answer(expert, own) for expert, own in parts]),
        experts,
        weights,
        mixing,
    )


def _mixed(
    answers: Callable[[list[tuple[int, Places]]], NDArray[Any]],
    experts: NDArray[np.int32],
    weights: Floats,
    mixing: Mixing,
) -> NDArray[Any]:
    """The same, where ``answers`` has those of several experts, each to rows of its own."""
    if mixing == "leading":
        lead = weights.argmax(axis=1)[:, None]
        experts, weights = np.take_along_axis(experts, lead, axis=1), np.ones_like(weights[:, :1])
    row, slot = np.nonzero(weights > 0)
    numbers = experts[row, slot]
    if numbers.max() < _SHORT:  # numpy sorts such numbers in one pass
        numbers = numbers.astype(np.int16)
    order = np.argsort(numbers, kind="stable")
    numbers, rows = numbers[order], row[order]
    starts = np.flatnonzero(np.diff(numbers, prepend=numbers[0] - 1))
    ends = [*starts[1:].tolist(), len(rows)]
    slices = [slice(start, end) for start, end in zip(starts.tolist(), ends, strict=True)]
    given = answers([(int(numbers[some.start]), rows[some]) for some in slices])
    if experts.shape[1] == 1:  # all weights are one
        place = np.empty(len(rows), np.int64)
        place[rows] = np.arange(len(rows))
        return given.take(place, axis=0)
    shares = weights[row, slot][order].reshape(-1, *[1] * (given.ndim - 1))
    shape = (len(experts), *given.shape[1:])
    if mixing == "density":
        loss = np.full(shape, np.inf, dtype=given.dtype)
        given = np.log(shares) - given
        for some in slices:
            loss[rows[some]] = -np.logaddexp(-loss[rows[some]], given[some])
        return loss
    given = given * shares
    mixture = np.zeros(shape, dtype=given.dtype)
    for some in slices:
        mixture[rows[some]] += given[some]
    return mixture
