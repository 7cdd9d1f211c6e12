"""Whether specialists beat the generalist, each on the rows that it leads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shoal.formats.units import least_units, mean_of, numbered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ids = NDArray[np.uint64]


@dataclass(frozen=True)
class Comparison:
    """A specialist against the generalist, on the same rows.

    Attributes:
        expert: Number of its partition.
        rows: Rows that it leads.
        units: Units that these rows are of; as many as rows where each is its own.
        difference: Mean of its score minus the generalist's on them; above zero is better.
        estimate: The difference, drawn towards that of all specialists.
        error: Standard error of the estimate; None where nothing is known.
        serves: Whether the estimate is above zero: at the asked confidence or, where all
            specialists together are better at that confidence, at all.
    """

    expert: int
    rows: int
    units: int
    difference: float
    estimate: float
    error: float | None
    serves: bool


def compare(
    difference: Floats, leads: NDArray[np.int32], confidence: float, units: Ids | None = None
) -> list[Comparison]:
    """One-sided paired tests: of all specialists together, then one each.

    The tests of single specialists lend each other strength.

    A partition's few validation rows say little by themselves. So each mean is drawn towards the
    mean of all, the more the less the specialists differ beyond chance. Differences of rows are
    taken to vary alike everywhere, and those of a unit to vary together.

    Args:
        difference: Score of the specialist minus the generalist's for each row, ``(rows,)``.
        leads: The specialist of each row, ``(rows,)``.
        confidence: Of each test, in [0.5, 1).
        units: Unit of each row; None where each is its own.

    Returns:
        One comparison for each specialist that leads a row, in order of number. With fewer units
        than :func:`shoal.formats.units.least_units` asks for, none serves.

    Source:
        Variance between specialists: DerSimonian and Laird 1986. Estimates and their errors, that
        of the common mean included: Morris 1983, empirical Bayes. Quantiles of t with one degree of
        freedom less than there are units: Cameron and Miller 2015.
    """
    from scipy.stats import t

    experts, place, rows = np.unique(leads, return_inverse=True, return_counts=True)
    means = np.bincount(place, weights=difference) / np.maximum(rows, 1)
    spread = _Spread.of(difference - means[place], place, units)
    estimate, error = _shrunken(means, spread)
    together = _better_together(difference, units, confidence)
    least = 0.0 if together else t.ppf(confidence, max(1, spread.freedom))
    with np.errstate(divide="ignore", invalid="ignore"):
        serves = (estimate / error > least) & (spread.units >= least_units(1 - confidence))
    return [
        Comparison(
            int(expert),
            int(n),
            int(own),
            float(d),
            float(e),
            float(s) if np.isfinite(s) else None,
            bool(yes),
        )
        for expert, n, own, d, e, s, yes in zip(
            experts, rows, spread.led, means, estimate, error, serves, strict=True
        )
    ]


def _better_together(difference: Floats, units: Ids | None, confidence: float) -> bool:
    """Whether the mean of all rows is above zero at the confidence."""
    from scipy.stats import t

    if len(difference) < 2 or not difference.any():
        return False
    mean = mean_of(difference, units)
    return bool(mean.value > t.ppf(confidence, max(1, mean.units - 1)) * mean.error)


@dataclass(frozen=True)
class _Spread:
    """How the specialists' means vary by chance, and together where they share units.

    A row's difference varies within its unit and, in common with the unit's other rows, between
    units. Both variances are estimated from all specialists (analysis of variance of unequal
    groups; Searle, Casella and McCulloch 1992), and so is the covariance of two specialists on rows
    of one unit. Where each row is its own unit, all that is left is the variance of a row.

    Attributes:
        units: How many there are.
        led: Of how many each specialist leads rows, ``(specialists,)``.
        freedom: Degrees of freedom of the variance between units.
        variances: Of each specialist's mean, ``(specialists,)``; infinite where nothing is known.
        covariance: Of two rows of a unit that different specialists lead.
        unit: Unit of each pair of unit and specialist that has rows, ``(pairs,)``.
        expert: Place of its specialist.
        share: Its share of the specialist's rows.
    """

    units: int
    led: NDArray[np.int64]
    freedom: int
    variances: Floats
    covariance: float
    unit: NDArray[np.int64]
    expert: NDArray[np.int64]
    share: Floats

    @classmethod
    def of(cls, residual: Floats, place: NDArray[np.int64], units: Ids | None) -> _Spread:
        """From each row's difference less its specialist's mean, and that specialist's place."""
        number, count = numbered(units, len(place))
        rows = np.bincount(place)
        experts = max(1, len(rows))
        pairs, cell, size = np.unique(
            number * experts + place, return_inverse=True, return_counts=True
        )
        unit, expert = np.divmod(pairs, experts)
        share = size / rows[expert]
        total = np.asarray(np.bincount(cell, weights=residual), dtype=np.float64)
        within, between = _components(float((residual**2).sum()), total, size, share)
        covariance = 0.0
        crossed = _crossed(unit, size.astype(np.float64))
        if crossed > 0 and np.isfinite(between):
            found = count / (count - 1) * _crossed(unit, total) / crossed
            covariance = float(np.clip(found, 0.0, between))
        return cls(
            units=count,
            led=np.bincount(expert, minlength=len(rows)),
            freedom=len(pairs) - len(rows),
            variances=within / rows + between * np.bincount(expert, weights=share**2),
            covariance=covariance,
            unit=unit,
            expert=expert,
            share=share,
        )

    def covaried(self, weights: Floats) -> float:
        """Variance that shared units add to that of the weighted sum of the means."""
        return self.covariance * _crossed(self.unit, weights[self.expert] * self.share)


def _components(
    squares: float, total: Floats, size: NDArray[np.int64], share: Floats
) -> tuple[float, float]:
    """Variance of a row's difference within units, and between units, of all specialists together.

    Args:
        squares: Sum of squares of the rows' differences less their specialists' means.
        total: Sum of these differences for each pair of unit and specialist.
        size: Rows of the pair.
        share: Its share of the specialist's rows.

    Returns:
        Both; infinite between units where no specialist leads rows of two.
    """
    rows, pairs, specialists = int(size.sum()), len(size), round(float(share.sum()))
    free = pairs - specialists
    if free <= 0:
        return 0.0, np.inf
    outer = float((total**2 / size).sum())
    within = (squares - outer) / (rows - pairs) if rows > pairs else 0.0
    between = (outer - free * within) / (rows - float((size * share).sum()))
    if between < 0:
        return squares / (rows - specialists), 0.0
    return within, between


def _crossed(unit: NDArray[np.int64], values: Floats) -> float:
    """Sum of products of any two values of a unit, over all units."""
    sums = np.bincount(unit, weights=values)
    return float((sums**2).sum() - (values**2).sum())


def _shrunken(means: Floats, spread: _Spread) -> tuple[Floats, Floats]:
    """Empirical Bayes estimates of the specialists' means, and their standard errors."""
    variances = spread.variances
    if not len(means) or not np.isfinite(variances).all() or not variances.all():
        return means, np.sqrt(variances)
    weights = 1 / variances
    centre = np.average(means, weights=weights)
    scatter = weights.sum() - (weights**2).sum() / weights.sum()
    by_chance = len(means) - 1 - spread.covaried(weights) / weights.sum()
    excess = (weights * (means - centre) ** 2).sum() - by_chance
    between = max(0.0, excess / scatter) if scatter > 0 else 0.0
    outer = 1 / (variances + between)
    centre = np.average(means, weights=outer)
    centre_variance = (1 + spread.covaried(outer) / outer.sum()) / outer.sum()
    drawn = variances * outer
    estimate = (1 - drawn) * means + drawn * centre
    variance = (1 - drawn) * variances + drawn**2 * centre_variance
    return np.asarray(estimate), np.asarray(np.sqrt(variance))
