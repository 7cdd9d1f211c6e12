"""Interval of the difference between two models on the same rows: a paired bootstrap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from shoal.formats.scores import SCORES
from shoal.formats.units import least_units, numbered
from shoal.training.metrics import is_mean, score

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shoal.formats.documents import judgement
    from shoal.formats.kinds import Metric

    Floats = NDArray[np.float64]

_BLOCK_DRAWS = 1 << 21
"""Draws held at a time: 16 MiB of indices."""
_BINOMIAL_COST = 16
"""Draws of a unit that take as long as the draw of how often a kind comes, about."""


class Difference(NamedTuple):
    """A score's difference and the ends of its interval, in the score's units.

    The ends are None where there are too few units for an interval.
    """

    value: float
    low: float | None
    high: float | None

    @property
    def sign(self) -> int:
        """1 where the whole interval is above zero, -1 below, else 0."""
        if self.low is None or self.high is None:
            return 0
        return int(self.low > 0) - int(self.high < 0)

    @property
    def ends(self) -> list[float]:
        """Low and high; empty where there is no interval."""
        return [end for end in (self.low, self.high) if end is not None]

    @property
    def document(self) -> judgement.Difference:
        """Value and ends as files say them."""
        return {"value": self.value, "low": self.low, "high": self.high}

    def is_better(self, metric: Metric) -> bool:
        """Whether the whole interval is on the side where the first model is better."""
        return self.sign == SCORES[metric].sign


def paired_bootstrap(
    a: NDArray[Any],
    b: NDArray[Any] | None,
    statistic: Metric,
    resamples: int,
    seed: int,
    confidence: float = 0.95,
    units: NDArray[np.uint64] | None = None,
) -> Difference:
    """Score of ``a`` minus score of ``b`` on the same rows, with a percentile interval.

    Units are drawn, each with all of its rows, and both scores of a resample are taken on the same
    draw, so what makes a unit hard for both cancels. The order of the rows has no influence. Time
    grows with resamples times units, or the units that differ if these are few; memory with rows.

    Percentiles of few units are too narrow, as a normal interval of few rows is. So the ends are
    moved out by as much as the t distribution and the sample variance ask for (the expanded
    percentile interval): from the 2.5th percentile to the 0.6th with 8 units, the 2.3th with 100.

    Args:
        a: One model's values by row, as :func:`shoal.training.metrics.row_values` gives them.
        b: The other model's, on the same rows; None for the score of the first alone.
        statistic: The score. Of one that is no mean every resample is scored anew, which takes
            milliseconds each.
        resamples: Resamples of the units, drawn with replacement.
        seed: Seed of the draws.
        confidence: Of the interval.
        units: Unit of each row ``(rows,)``; None where each is its own.

    Returns:
        The difference, and an interval that leaves out as much on either side. No interval with
        fewer units than :func:`shoal.formats.units.least_units` asks for: 6 at 0.95.

    Raises:
        ValueError: There are no rows, or the two arrays differ in shape.

    Source:
        Efron and Tibshirani 1993, chapter 13 (percentile interval), pairs resampled together;
        Field and Welsh 2007, whole clusters resampled; Hesterberg 2015, section 5.3 (expansion).
    """
    other = a.shape if b is None else b.shape
    if a.shape != other or len(a) == 0 or a.ndim != 2 - is_mean(statistic):
        raise ValueError(f"need two arrays over the same rows, not {a.shape} and {other}")
    rows, count = numbered(units, len(a))
    outside = (1 - confidence) / 2
    rng, least = np.random.default_rng(seed), least_units(outside)
    if is_mean(statistic):
        pair = np.stack([a, np.zeros_like(a) if b is None else b])
        totals = _totals(pair.astype(np.float64), rows, count)
        value = float(_difference(totals.sum(axis=1), statistic))
        drawn = None if count < least else _resampled(totals, resamples, rng)
        differences = None if drawn is None else _difference(drawn, statistic)
    else:
        value = _weighted_difference(a, b, statistic, None)
        differences = None if count < least else _rescored(a, b, statistic, rows, resamples, rng)
    if differences is None:
        return Difference(value, None, None)
    share = 100 * _expanded(outside, count)
    # A resample may lack what the score needs, such as rows of two classes.
    low, high = np.nanpercentile(differences, [share, 100 - share])
    return Difference(value, float(low), float(high))


def _weighted_difference(
    a: NDArray[Any], b: NDArray[Any] | None, statistic: Metric, weights: NDArray[Any] | None
) -> float:
    """Score of ``a`` minus that of ``b``, rows counting as often as ``weights`` say."""
    other = 0.0 if b is None else score(statistic, b, weights)
    return score(statistic, a, weights) - other


def _rescored(
    a: NDArray[Any],
    b: NDArray[Any] | None,
    statistic: Metric,
    unit: NDArray[np.int64],
    resamples: int,
    rng: np.random.Generator,
) -> Floats:
    """Differences of resamples of the units, each scored anew, ``(resamples,)``."""
    count, found = int(unit.max()) + 1, []
    for _ in range(resamples):
        times = np.bincount(rng.integers(0, count, size=count), minlength=count)
        found.append(_weighted_difference(a, b, statistic, times[unit]))
    return np.array(found)


def _totals(pair: Floats, rows: NDArray[np.int64], count: int) -> Floats:
    """Sum of both values and number of rows of each unit, ``(3, units)``, in an order of their own.

    Rows are added in the order of their values, so that theirs has no influence on the bits.
    """
    order = np.lexsort((pair[1], pair[0], rows))
    starts = np.searchsorted(rows[order], np.arange(count))
    sums = np.add.reduceat(pair[:, order], starts, axis=1)
    totals = np.concatenate([sums, np.bincount(rows, minlength=count)[None]])
    return np.asarray(totals[:, np.lexsort((totals[2], totals[1], totals[0]))])


def _resampled(totals: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """Sums over the units of each resample, ``(3, resamples)``.

    Where most units are alike, as right and wrong answers are, it is drawn how often each kind
    comes: the multinomial distribution, which is that of drawing units one by one.
    """
    count = totals.shape[1]
    kinds, times = np.unique(totals, axis=1, return_counts=True)
    if _BINOMIAL_COST * len(times) < count:
        drawn_kinds = rng.multinomial(count, times / count, size=resamples)
        return np.asarray(kinds @ drawn_kinds.T)
    block = max(1, _BLOCK_DRAWS // count)
    varying = totals if np.ptp(totals[2]) else totals[:2]
    drawn = np.full((3, resamples), totals[2].sum())
    for start in range(0, resamples, block):
        stop = min(start + block, resamples)
        draws = rng.integers(0, count, size=(stop - start, count))
        for sums, values in zip(drawn, varying, strict=False):
            sums[start:stop] = values[draws].sum(axis=1)
    return drawn


def _expanded(outside: float, units: int) -> float:
    """Share of resamples to leave out on each side, so that as much of the t distribution is."""
    from scipy.special import ndtr, stdtrit

    return float(ndtr(-np.sqrt(units / (units - 1)) * stdtrit(units - 1, 1 - outside)))


def _difference(totals: Floats, statistic: Metric) -> Floats:
    """Score of the first row of ``totals`` minus that of the second; the third counts rows."""
    means = totals[:2] / totals[2]
    scores = np.sqrt(means) if statistic == "rmse" else means
    return np.asarray(scores[0] - scores[1])
