"""Distances whose bits for one row do not depend on the rows beside it.

A matrix product's rounding depends on its shape, so rows pass in padded blocks of one size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.blocks import padded_blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float64 = NDArray[np.float64]


class Targets:
    """Points to measure distances to.

    Attributes:
        points: float64 ``(points, dims)``.
    """

    def __init__(self, points: NDArray[Any]) -> None:
        """Keep the points, ``(points, dims)``, and their norms."""
        self.points: Float64 = np.ascontiguousarray(points, dtype=np.float64)
        self._norms = (self.points * self.points).sum(axis=1)

    def squared(self, block: Float64) -> Float64:
        """Squared distances of one padded block, float64 ``(BLOCK_ROWS, points)``.

        By the expanded square, in float64: good to rank by, while :meth:`to` is exact near zero.
        """
        product = block @ self.points.T
        squared: Float64 = (block * block).sum(axis=1)[:, None] - 2.0 * product + self._norms
        return squared

    def to(self, block: Float64, chosen: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Distance of each row to the points chosen for it.

        Args:
            block: float64 ``(rows, dims)``.
            chosen: Indices of points, ``(rows, choices)``.

        Returns:
            float32 ``(rows, choices)``.
        """
        distance = np.empty(chosen.shape, dtype=np.float32)
        for place, points in enumerate(chosen.T):
            difference = block - self.points[points]
            distance[:, place] = np.sqrt((difference * difference).sum(axis=1))
        return distance


def nearest_point(rows: NDArray[Any], points: NDArray[Any]) -> NDArray[np.int32]:
    """Index of the closest point for each row.

    Args:
        rows: ``(rows, dims)``.
        points: ``(points, dims)``.

    Returns:
        int32 ``(rows,)``; ties go to the lowest index.

    Source:
        Lloyd 1982, assignment step.
    """
    targets = Targets(points)
    nearest = np.empty(len(rows), dtype=np.int32)
    for place, block in padded_blocks(rows, "float64"):
        nearest[place] = targets.squared(block).argmin(axis=1)[: place.stop - place.start]
    return nearest
