"""Whether specialists beat the generalist, each on the rows that it leads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """A specialist against the generalist, on the same rows.

    Attributes:
        expert: Number of its partition.
        rows: Rows that it leads.
        difference: Mean of its score minus the generalist's on them; above zero is better.
        estimate: The difference, drawn towards that of all specialists.
        error: Standard error of the estimate; infinite where nothing is known.
        serves: Whether the estimate is above zero: at the asked confidence or, where all
            specialists together are better at that confidence, at all.
    """

    expert: int
    rows: int
    difference: float
    estimate: float
    error: float
    serves: bool


def compare(difference: Floats, leads: NDArray[np.int32], confidence: float) -> list[Comparison]:
    """One-sided paired tests: of all specialists together, then one each.

    The tests of single specialists lend each other strength.

    A partition's few validation rows say little by themselves. So each mean is drawn towards the
    mean of all, the more the less the specialists differ beyond chance. Differences of rows are
    taken to vary alike everywhere.

    Args:
        difference: Score of the specialist minus the generalist's for each row, ``(rows,)``.
        leads: The specialist of each row, ``(rows,)``.
        confidence: Of each test, in [0.5, 1).

    Returns:
        One comparison for each specialist that leads a row, in order of number.

    Source:
        Variance between specialists: DerSimonian and Laird 1986. Estimates and their errors, that
        of the common mean included: Morris 1983, empirical Bayes.
    """
    from scipy.stats import norm

    experts, place, rows = np.unique(leads, return_inverse=True, return_counts=True)
    means = np.bincount(place, weights=difference) / np.maximum(rows, 1)
    estimate, error = _shrunken(means, _variance(difference, means[place], len(experts)) / rows)
    least = norm.ppf(confidence)
    with np.errstate(divide="ignore", invalid="ignore"):
        serves = estimate / error > (0.0 if _z(difference) > least else least)
    return [
        Comparison(int(expert), int(n), float(d), float(e), float(s), bool(yes))
        for expert, n, d, e, s, yes in zip(
            experts, rows, means, estimate, error, serves, strict=True
        )
    ]


def _z(difference: Floats) -> float:
    """The mean over its standard error; 0 where that is not known."""
    if len(difference) < 2 or not difference.any():
        return 0.0
    return float(difference.mean() / (difference.std(ddof=1) / np.sqrt(len(difference))))


def _variance(difference: Floats, mean: Floats, groups: int) -> float:
    """Of a row's difference within its group; infinite where no group has two rows."""
    freedom = len(difference) - groups
    return float(((difference - mean) ** 2).sum() / freedom) if freedom > 0 else np.inf


def _shrunken(means: Floats, variances: Floats) -> tuple[Floats, Floats]:
    """Empirical Bayes estimates of the groups' means, and their standard errors."""
    if not len(means) or not np.isfinite(variances).all() or not variances.all():
        return means, np.sqrt(variances)
    weights = 1 / variances
    centre = np.average(means, weights=weights)
    spread = weights.sum() - (weights**2).sum() / weights.sum()
    excess = (weights * (means - centre) ** 2).sum() - (len(means) - 1)
    between = max(0.0, excess / spread) if spread > 0 else 0.0
    outer = 1 / (variances + between)
    centre, centre_variance = np.average(means, weights=outer), 1 / outer.sum()
    drawn = variances * outer
    estimate = (1 - drawn) * means + drawn * centre
    variance = (1 - drawn) * variances + drawn**2 * centre_variance
    return np.asarray(estimate), np.asarray(np.sqrt(variance))
