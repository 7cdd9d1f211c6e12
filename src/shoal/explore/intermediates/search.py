"""Nearest neighbours and highest activations: exact, a block of rows in memory at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Blocks = Iterable[tuple[NDArray[np.int64], NDArray[Any]]]

_QUERIES = 512  # of which distances to a block are held at once


@dataclass(frozen=True)
class Found:
    """The best rows of each query, the best first.

    Attributes:
        places: Numbers of the rows, int64 ``(queries, at most k)``.
        values: Their distances or activations, float64, of the same shape.
    """

    places: NDArray[np.int64]
    values: NDArray[np.float64]


def nearest(
    blocks: Blocks, queries: NDArray[Any], k: int, without: NDArray[np.int64] | None = None
) -> Found:
    """The rows with the smallest Euclidean distances; equal ones in order of their numbers.

    Args:
        blocks: Numbers of rows, ``(rows,)``, and their values, ``(rows, …)``.
        queries: ``(queries, …)``.
        k: How many for each query.
        without: For each query, the number of a row that is none of its neighbours.
    """
    from scipy.spatial.distance import cdist

    parts = [slice(at, at + _QUERIES) for at in range(0, max(1, len(queries)), _QUERIES)]
    points = [_flat(queries[part]) for part in parts]
    best = [_nothing(len(each)) for each in points]
    for places, values in blocks:
        rows = _flat(values)
        for number, part in enumerate(parts):
            distances = cdist(points[number], rows)
            distances[np.isnan(distances)] = np.inf
            if without is not None:
                distances[without[part, None] == places[None]] = np.inf
            best[number] = _merged(best[number], places, distances, k)
    places = np.concatenate([each.places for each in best])
    return _finite(Found(places, np.concatenate([each.values for each in best])))


def top(blocks: Blocks, unit: int, k: int) -> Found:
    """The rows with the highest activations of a unit; equal ones in order of their numbers.

    Args:
        blocks: Numbers of rows, ``(rows,)``, and their values, ``(rows, …)``.
        unit: Place of the unit in a row, flattened.
        k: How many.

    Returns:
        For one query.
    """
    best = _nothing(1)
    for places, values in blocks:
        activation = -_flat(values)[:, unit][None]
        best = _merged(best, places, np.where(np.isnan(activation), np.inf, activation), k)
    found = _finite(best)
    return Found(found.places, -found.values + 0.0)


def unit_of(text: str, shape: tuple[int, ...]) -> int:
    """Place of a unit in a row, flattened.

    Args:
        text: That place, or the unit's place in each dimension, such as ``3,0,5``.
        shape: Shape of a row.

    Raises:
        ModelError: There is no such unit.
    """
    parts = text.split(",")
    if all(part.isascii() and part.isdigit() for part in parts):
        numbers = [int(part) for part in parts]
        if len(numbers) == 1 and numbers[0] < math.prod(shape):
            return numbers[0]
        inside = len(numbers) == len(shape) and all(map(int.__lt__, numbers, shape))
        if inside:
            return int(np.ravel_multi_index(numbers, shape))
    raise ModelError(
        f"unit {text!r}: the layer gives {math.prod(shape)} units a row, of shape {shape}; give "
        f"a number from 0, or one for each dimension"
    )


def _flat(values: NDArray[Any]) -> NDArray[np.float64]:
    return values.reshape(len(values), math.prod(values.shape[1:])).astype(np.float64)


def _nothing(queries: int) -> Found:
    return Found(np.empty((queries, 0), np.int64), np.empty((queries, 0)))


def _merged(best: Found, places: NDArray[np.int64], values: NDArray[np.float64], k: int) -> Found:
    """The ``k`` smallest values of both, with their rows."""
    numbers = np.broadcast_to(places, values.shape)
    numbers = np.concatenate([best.places, numbers], axis=1)
    joined = np.concatenate([best.values, values], axis=1)
    order = np.lexsort((numbers, joined), axis=1)[:, :k]
    return Found(np.take_along_axis(numbers, order, 1), np.take_along_axis(joined, order, 1))


def _finite(best: Found) -> Found:
    """Without columns in which no query has found anything."""
    there = np.isfinite(best.values).any(axis=0)
    return Found(best.places[:, there], best.values[:, there])
