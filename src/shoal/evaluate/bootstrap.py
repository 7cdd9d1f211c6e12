"""How sure a difference between two models on the same rows is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shoal.evaluate.metrics import Metric

_BLOCK_DRAWS = 1 << 21
"""Row draws held at a time: 16 MiB of indices."""


class Difference(NamedTuple):
    """A score's difference and the ends of its interval, in the score's units."""

    value: float
    low: float
    high: float


def paired_bootstrap(
    a: NDArray[Any],
    b: NDArray[Any],
    statistic: Metric,
    resamples: int,
    seed: int,
    confidence: float = 0.95,
) -> Difference:
    """Score of ``a`` minus score of ``b`` on the same rows, with a percentile interval.

    Both scores of a resample are taken on the same drawn rows, so what makes a row hard for
    both cancels. The order of the rows has no influence. Time grows with rows times resamples,
    memory with rows alone.

    Args:
        a: One model's values by row, float64 ``(rows,)``: 0 or 1 for ``accuracy``, squared
            errors for ``rmse``.
        b: The other model's, on the same rows.
        statistic: ``accuracy`` (the mean) or ``rmse`` (the root of the mean).
        resamples: Resamples of the rows, drawn with replacement.
        seed: Seed of the draws.
        confidence: Of the interval.

    Returns:
        The difference, and the percentiles of the resampled differences that leave out as much on
        either side: for 0.95 the 2.5th and the 97.5th.

    Raises:
        ValueError: There are no rows, or the two arrays differ in length.

    Source:
        Efron and Tibshirani 1993, chapter 13 (percentile interval), pairs resampled together.
    """
    if a.shape != b.shape or a.ndim != 1 or len(a) == 0:
        raise ValueError(f"need two arrays over the same rows, not {a.shape} and {b.shape}")
    order = np.lexsort((b, a))
    pairs = np.stack([a[order], b[order]]).astype(np.float64)
    rng = np.random.default_rng(seed)
    rows = len(a)
    block = max(1, _BLOCK_DRAWS // rows)
    drawn = np.empty((2, resamples))
    for start in range(0, resamples, block):
        stop = min(start + block, resamples)
        draws = rng.integers(0, rows, size=(stop - start, rows))
        for means, values in zip(drawn, pairs, strict=True):
            means[start:stop] = values[draws].mean(axis=1)
    ends = [50 * (1 - confidence), 50 * (1 + confidence)]
    low, high = np.percentile(_difference(drawn, statistic), ends)
    value = _difference(pairs.mean(axis=1), statistic)
    return Difference(float(value), float(low), float(high))


def _difference(means: NDArray[np.float64], statistic: Metric) -> NDArray[np.float64]:
    """Score of the first row of ``means`` minus that of the second."""
    scores = means if statistic == "accuracy" else np.sqrt(means)
    return np.asarray(scores[0] - scores[1])
