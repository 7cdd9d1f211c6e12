"""Numbers over seeds and rows: recovered gain, agreement of partitions, intervals."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from shoal.formats.kinds import Metric

    Floats = NDArray[np.float64]

_BLOCK = 2_000_000
"""Draws held in memory at a time."""


def gain(metric: Metric, score: Any, other: Any) -> Any:  # noqa: ANN401 - numbers or arrays of them
    """How much better a score is than another: their difference, above zero where better."""
    return score - other if metric == "accuracy" else other - score


def rgr(metric: Metric, pool: float, generalist: float, truth: float) -> float | None:
    """Share of the true regimes' gain that a pool recovers; RGR.

    Args:
        metric: ``accuracy`` or ``rmse``.
        pool: Score of the pool.
        generalist: Score of the best generalist.
        truth: Score of the true regimes' specialists, each row told its regime.

    Returns:
        (pool - generalist) / (truth - generalist): 1 is all of the gain, below 0 a loss. None
        where the true regimes do not win.
    """
    possible = float(gain(metric, truth, generalist))
    return float(gain(metric, pool, generalist)) / possible if possible > 0 else None


def agreement(first: Mapping[bytes, int], second: Mapping[bytes, int]) -> float | None:
    """Adjusted Rand index of two partitions, on the rows that are in both.

    Args:
        first: Partition of each row by its key.
        second: The other.

    Returns:
        1 where they are the same, about 0 by chance; None where they share no row.

    Source:
        Hubert and Arabie 1985.
    """
    from sklearn.metrics import adjusted_rand_score

    shared = [key for key in first if key in second]
    if not shared:
        return None
    pairs = ([first[key] for key in shared], [second[key] for key in shared])
    return float(adjusted_rand_score(*pairs))


def stability(partitions: Sequence[Mapping[bytes, int]]) -> float | None:
    """Mean agreement of each seed's partitions with the next seed's; None without pairs.

    Another seed has another training fold, so this is agreement under resampling of the rows.
    """
    found = [agreement(*pair) for pair in itertools.pairwise(partitions)]
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if known else None


def resampled_scores(metric: Metric, values: Sequence[Floats], resamples: int, seed: int) -> Floats:
    """Mean scores over seeds, with seeds and rows drawn again and again.

    All columns are scored on the same drawn rows, so differences of columns are paired.

    Args:
        metric: ``accuracy`` or ``rmse``.
        values: A seed's values, ``(rows, columns)``: 1 or 0, or squared errors.
        resamples: Resamples.
        seed: Seed of the draws.

    Returns:
        ``(resamples, columns)``.

    Source:
        Davison and Hinkley 1997, section 3.8 (both levels drawn with replacement).
    """
    rng = np.random.default_rng(seed)
    scores = np.stack([_drawn_means(rng, table, resamples) for table in values])
    if metric == "rmse":
        scores = np.sqrt(scores)
    size = (resamples, len(values))
    picked = scores[rng.integers(len(values), size=size), rng.integers(resamples, size=size)]
    return np.asarray(picked.mean(axis=1))


def _drawn_means(rng: np.random.Generator, table: Floats, resamples: int) -> Floats:
    """Means of columns over rows that are drawn with replacement, ``(resamples, columns)``."""
    rows = len(table)
    block = max(1, _BLOCK // rows)
    parts = []
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        draws = rng.integers(rows, size=(count, rows)) + rows * np.arange(count)[:, None]
        weight = np.bincount(draws.ravel(), minlength=count * rows).reshape(count, rows)
        parts.append(weight @ table / rows)
    return np.concatenate(parts)


def interval(drawn: Floats) -> tuple[float, float]:
    """2.5th and 97.5th percentile."""
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def two_sided(drawn: Floats) -> float:
    """Bootstrap p-value of no difference; at least two over the number of resamples."""
    smaller = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return min(1.0, 2 * max(1, smaller) / len(drawn))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for how many there are.

    Source:
        Holm 1979.
    """
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(order))
    highest = 0.0
    for place, number in enumerate(order):
        highest = max(highest, (len(order) - place) * p_values[number])
        adjusted[number] = min(1.0, highest)
    return [float(value) for value in adjusted]
