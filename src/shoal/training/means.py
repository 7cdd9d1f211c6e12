"""Means of numbers that are not all held at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BITS = 53
"""Bits of a float64's mantissa."""
_LOW_BITS = 26
"""Bits of its lower half: 2^26 halves add up to what float64 holds exactly."""
_UNIT = 1126
"""A whole number of 53 bits times 2 to the power of minus this is the smallest float64."""


class ExactMean:
    """Mean of numbers that come in parts: rounded once, so no order and no cut changes a bit.

    Each number is a whole one of 53 bits times a power of two, and all are added as one whole
    number, in units of the smallest power.
    """

    def __init__(self) -> None:
        self._sum = 0
        self._count = 0
        self._others = 0.0

    def add(self, values: NDArray[np.float64]) -> None:
        """Take at most 2^26 numbers."""
        self._count += len(values)
        finite = np.isfinite(values)
        if not finite.all():
            self._others += sum(values[~finite].tolist())
            values = values[finite]
        mantissas, exponents = np.frexp(values)
        whole = (mantissas * 2.0**_BITS).astype(np.int64)
        shifts = exponents.astype(np.int64) + (_UNIT - _BITS)
        high = whole >> _LOW_BITS
        for half, moved in ((whole - (high << _LOW_BITS), 0), (high, _LOW_BITS)):
            sums = np.bincount(shifts, weights=half)
            for shift in np.flatnonzero(sums).tolist():
                self._sum += int(sums[shift]) << (shift + moved)

    @property
    def value(self) -> float | None:
        """The mean: not finite where a number is not, None of none."""
        if not self._count:
            return None
        if self._others:
            return self._others
        return self._sum / (self._count << _UNIT)
