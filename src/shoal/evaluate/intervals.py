"""Intervals of contenders' scores, from the standard errors of their means over units."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from shoal.formats.units import least_units, mean_of
from shoal.training.metrics import is_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from shoal.formats.kinds import Metric

_OUTSIDE = 0.025


def score_intervals(
    metric: Metric, per_row: Mapping[str, NDArray[np.float64]], units: NDArray[np.uint64] | None
) -> dict[str, tuple[float, float]]:
    """95 % interval of each contender's score, by the t distribution.

    That takes no resamples, so it may be given for all contenders, which are drawn side by side.

    Args:
        metric: The score.
        per_row: Values of the metric by row of each contender, ``(rows,)``.
        units: Unit of each row; None where each is its own.

    Returns:
        By contender; empty for a score that is no mean, or with too few units.
    """
    from scipy.special import stdtrit

    found: dict[str, tuple[float, float]] = {}
    for name, values in per_row.items() if is_mean(metric) else ():
        mean = mean_of(values, units)
        if mean.units >= least_units(_OUTSIDE):
            reach = float(stdtrit(mean.units - 1, 1 - _OUTSIDE)) * mean.error
            ends = mean.value - reach, mean.value + reach
            found[name] = ends if metric != "rmse" else _rooted(ends)
    return found


def _rooted(ends: tuple[float, float]) -> tuple[float, float]:
    low, high = (math.sqrt(max(0.0, end)) for end in ends)
    return low, high
