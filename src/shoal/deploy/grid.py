"""Weights on a grid: multiples of a power of two per tensor, which move by whole steps.

A weight moves where it is ``dead_zone`` steps or more from what is deployed, so what is deployed
follows training at a distance, without error: the next copy looks at the trained weights again.
Sums of such multiples are exact in float32, on every processor.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

_BITS = 24
"""Bits of integers that float32 holds exactly."""
_SAME = 1
"""Exponents by which a tensor's grid may be off before it gets another one."""


def exponent_of(weights: Array, step: float) -> int | None:
    """Exponent of the power of two nearest to a share of the weights' root mean square.

    Args:
        weights: A tensor, of any shape.
        step: The share.

    Returns:
        None where there is no such grid: for types other than float32, weights that are all 0 or
        are not all finite, and where multiples would have more than 24 bits.
    """
    if weights.dtype != np.float32 or not weights.size or not np.isfinite(weights).all():
        return None
    values = weights.astype(np.float64)
    size = math.sqrt(float(np.mean(values * values)))
    if size == 0:
        return None
    exponent = round(math.log2(size * step))
    largest = float(np.abs(values).max())
    if exponent < -100 or largest * 2.0**-exponent >= 2 ** (_BITS - 1):
        return None
    return exponent


def step_of(size: int, largest: int, step: float) -> float:
    """Step of a tensor, as a share of its weights' root mean square.

    Relative errors of a model's layers add up, and a bit of precision costs a tensor as much as it
    has weights. At least cost for an error, steps are as the square roots of the sizes: few
    weights, such as those of an output layer, get a fine grid, which costs next to nothing.

    Args:
        size: Weights of the tensor.
        largest: Weights of the largest tensor of the model.
        step: Step of that one.
    """
    return step * math.sqrt(size / largest)


def on_grid(
    weights: Array, step: float, dead_zone: float, deployed: Array | None, exponent: int | None
) -> tuple[Array, int | None]:
    """A tensor as it is deployed, and the exponent of its grid.

    Args:
        weights: The trained weights.
        step: Size of the grid, as a share of their root mean square.
        dead_zone: Steps from what is deployed at which a weight moves.
        deployed: What is deployed now; None where nothing is.
        exponent: The exponent of its grid; None where it is on none.

    Returns:
        float32 of the same shape, multiples of ``2 ** exponent``; or the weights themselves and
        None, where they have no grid.
    """
    wanted = exponent_of(weights, step)
    if wanted is None:
        return weights, None
    values = weights.astype(np.float64)
    if exponent is None or deployed is None or not goes_on(weights, wanted, deployed, exponent):
        return multiples(np.round(values * 2.0**-wanted), wanted), wanted
    was = deployed.astype(np.float64) * 2.0**-exponent
    way = values * 2.0**-exponent - was
    steps = np.sign(way) * np.floor(np.abs(way) + 1 - dead_zone)
    return multiples(was + steps, exponent), exponent


def goes_on(weights: Array, wanted: int, deployed: Array | None, exponent: int) -> bool:
    """Whether a tensor stays on the grid of what is deployed.

    Args:
        weights: The trained weights.
        wanted: The exponent that they would have.
        deployed: What is deployed now; None where nothing is.
        exponent: The exponent of its grid.
    """
    same = deployed is not None and deployed.shape == weights.shape
    return same and abs(wanted - exponent) <= _SAME


def multiples(integers: Array, exponent: int) -> Array:
    """Integers times a power of two, float32; no -0 among them, which is no integer."""
    return np.asarray(integers * 2.0**exponent + 0.0, np.float32)
