"""Answers of several experts about a row become one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Places = NDArray[np.int64]

Mixing = Literal["mean", "density", "leading"]
"""How answers of several models about a row become one: their mean by weight; the negative
logarithm of the mean of their densities; or the answer of the model with the largest weight."""

_SHORT = 2**15


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
        mixing: How they mix; see :data:`Mixing`. The first is the leading one
            of equal weights.
    """
    return mixed_parts(
        lambda parts: np.concatenate([answer(expert, own) for expert, own in parts]),
        experts,
        weights,
        mixing,
    )


def mixed_parts(
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
