"""Base and specialists, and the mixing of their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shoal.training.model import predict, predict_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Places = NDArray[np.int64]

BASE = -1
_SHORT = 2**15
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

    def answer(self, expert: int, x: Floats) -> Floats:
        """One expert's probabilities ``(rows, classes)`` or numbers ``(rows, 1)``."""
        return predict(self.models[expert], x, self._task)

    def mix(self, x: Floats, experts: NDArray[np.int32], weights: Floats) -> Floats:
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
        return _mixed(
            lambda parts: predict_parts(
                [(self.models[expert], own) for expert, own in parts], x, self._task
            ),
            experts,
            weights,
        )


def mixed(
    answer: Callable[[int, Places], Floats], experts: NDArray[np.int32], weights: Floats
) -> Floats:
    """Weighted mean of the answers of each row's experts; there is a row at least.

    Args:
        answer: Answers of an expert to some of the rows, by their places.
        experts: Partitions to ask, ``(rows, k)``; none twice a row with a weight above zero.
        weights: Their weights, ``(rows, k)``, each row summing to one.
    """
    return _mixed(
        lambda parts: np.concatenate([answer(expert, own) for expert, own in parts]),
        experts,
        weights,
    )


def _mixed(
    answers: Callable[[list[tuple[int, Places]]], Floats],
    experts: NDArray[np.int32],
    weights: Floats,
) -> Floats:
    """The same, where ``answers`` has those of several experts, each to rows of its own."""
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
    given *= weights[row, slot][order, None]
    mixture = np.zeros((len(experts), given.shape[1]), dtype=np.float32)
    for some in slices:
        mixture[rows[some]] += given[some]
    return mixture
