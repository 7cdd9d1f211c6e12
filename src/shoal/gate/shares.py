"""How much of an answer is a specialist's, and how much the generalist's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from shoal.formats.units import least_units, mean_of, numbered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ids = NDArray[np.uint64]

MIXTURES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of a specialist that are compared where its loss is minus the logarithm of a density."""
PRIOR_ROWS = 30
"""Rows of the mean of all that are added to a partition's own."""
LEAST_PROBABILITY = 1e-4
"""Probabilities of classes below this one count as it, so that no single row decides."""


class Gains(NamedTuple):
    """By how much each row's loss is less with some of the specialist than without.

    Attributes:
        shares: Shares of the specialist, ascending, the first 0 and the last 1.
        values: float64 ``(rows, shares)``; zero at share 0, above zero is better.
    """

    shares: tuple[float, ...]
    values: Floats


@dataclass(frozen=True)
class Expert:
    """A specialist on the rows that it leads.

    Attributes:
        expert: Number of its partition.
        rows: Rows that it leads.
        units: Units that these rows are of; as many as rows where each is its own.
        difference: Mean gain of the specialist alone over the generalist alone.
        gain: Mean gain of its share.
        share: The specialist's share of the answer; the rest is the generalist's.
    """

    expert: int
    rows: int
    units: int
    difference: float
    gain: float
    share: float


@dataclass(frozen=True)
class Decision:
    """The shares of all specialists, and the test that they are given at all.

    Attributes:
        share: The share that is best if all specialists have the same.
        gain: Mean gain of this share over all rows.
        error: Its standard error, by unit; None where nothing is known.
        opens: Whether the gain is above zero at the asked confidence.
        experts: The specialists that were asked for, in their order.
    """

    share: float
    gain: float
    error: float | None
    opens: bool
    experts: list[Expert]


def mixture_gains(specialist: Floats, generalist: Floats, least: float) -> Gains:
    """Gains of mixtures of two densities: the mixture's logarithm minus that of the generalist.

    Args:
        specialist: Loss of each row, minus the logarithm of its density, ``(rows,)``.
        generalist: The same of the generalist.
        least: Densities below it count as it.
    """
    with np.errstate(divide="ignore"):
        floor = np.log(least)
    ahead = (np.maximum(-specialist, floor) - np.maximum(-generalist, floor))[:, None]
    share = np.array(MIXTURES[1:-1])
    values = np.where(
        ahead > 0,
        ahead + np.log1p((1 - share) * np.expm1(-np.abs(ahead))),
        np.log1p(share * np.expm1(-np.abs(ahead))),
    )
    return Gains(MIXTURES, np.concatenate([np.zeros_like(ahead), values, ahead], axis=1))


def either_gains(specialist: Floats, generalist: Floats) -> Gains:
    """Gains where answers do not mix: of none or all of the specialist, by any loss.

    Args:
        specialist: Loss of each row, ``(rows,)``.
        generalist: The same of the generalist.
    """
    return Gains((0.0, 1.0), np.stack([np.zeros(len(specialist)), generalist - specialist], axis=1))


def is_above_zero(values: Floats, units: Ids | None, confidence: float) -> bool:
    """One-sided test by unit that the mean is above zero.

    With fewer units than :func:`shoal.formats.units.least_units` asks for, it is not.

    Args:
        values: One for each row, ``(rows,)``.
        units: Unit of each row; None where each is its own.
        confidence: Of the test, in [0.5, 1).

    Source:
        Quantiles of t with one degree of freedom less than there are units: Cameron and Miller
        2015.
    """
    from scipy.stats import t

    count = numbered(units, len(values))[1]
    if count < least_units(1 - confidence):
        return False
    mean = mean_of(values, units)
    return bool(mean.value > t.ppf(confidence, count - 1) * mean.error)


def decide(
    gains: Gains,
    leads: NDArray[np.int32],
    experts: Sequence[int],
    confidence: float,
    units: Ids | None = None,
) -> Decision:
    """Give each specialist its share of the answers to the rows that it leads.

    All rows are tested together first, with the share that is best for all of them: where it does
    not gain at the asked confidence, every share is 0. Else a specialist has the share with the
    largest sum of gains over its rows and :data:`PRIOR_ROWS` rows of the mean of all. So one with
    few rows has about the common share, and one with many its own.

    Args:
        gains: Of each row.
        leads: The specialist of each row, ``(rows,)``.
        experts: Numbers of the specialists.
        confidence: Of the test, in [0.5, 1).
        units: Unit of each row; None where each is its own.
    """
    values, shares = gains.values, gains.shares
    rows = len(values)
    means = values.mean(axis=0) if rows else np.zeros(len(shares))
    best = int(means.argmax())
    opens = is_above_zero(values[:, best], units, confidence)
    error = mean_of(values[:, best], units).error if rows else np.inf
    found = []
    for expert in experts:
        own = np.flatnonzero(leads == expert)
        sums = values[own].sum(axis=0)
        at = int((sums + PRIOR_ROWS * means).argmax()) if opens else 0
        mean = sums / max(1, len(own))
        held = numbered(None if units is None else units[own], len(own))[1]
        found.append(Expert(expert, len(own), held, float(mean[-1]), float(mean[at]), shares[at]))
    known = float(error) if np.isfinite(error) else None
    return Decision(shares[best], float(means[best]), known, opens, found)
