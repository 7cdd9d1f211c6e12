"""Whether two specialists a row, mixed by distance, are better than the nearest one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.gate.shares import is_above_zero

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SOFTNESSES = (0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Temperatures of the weights of two specialists that are compared."""


def best_softness(
    one: NDArray[np.float64],
    two: NDArray[np.float64],
    confidence: float,
    units: NDArray[np.uint64] | None = None,
) -> float | None:
    """The softness with the lowest mean loss, if that is below the nearest specialist's.

    Args:
        one: Loss of the nearest specialist on each row, ``(rows,)``.
        two: Loss of the two nearest ones at each of :data:`SOFTNESSES`, ``(rows, softnesses)``.
        confidence: Of the one-sided test by unit that it is below, in [0.5, 1).
        units: Unit of each row; None where each is its own.

    Returns:
        None where it is not.
    """
    if not len(one):
        return None
    best = int(two.mean(axis=0).argmin())
    return SOFTNESSES[best] if is_above_zero(one - two[:, best], units, confidence) else None
