"""Tests of whether rows that arrived differ from those before, and a recommendation.

Rows before are rows of the validation and test folds, which no fit has seen. Training rows would
not do: the assigner's prototypes lie closer to them than to any new row, drift or no drift.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from shoal.formats.text import share_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Rows = NDArray[np.float32]
    Float64 = NDArray[np.float64]
    Flags = NDArray[np.bool_]

LEAST_ROWS = 20
"""Rows a side, one of each unit, below which nothing is tested."""

_PENALTY = 0.01
_ITERATIONS = 200
_SCATTER = math.sqrt(2)
_LEAST_RISE, _LEAST_RISE_SHARE = 0.01, 0.1
_GROWTH = 2.0


class Separation(NamedTuple):
    """How well a classifier tells two samples apart, and the p-value of doing so by chance."""

    accuracy: float
    p_value: float


class Loss(NamedTuple):
    """Mean loss, in nats or squared standard deviations of the label, over so many units."""

    mean: float
    units: int


@dataclass(frozen=True)
class Sample:
    """Rows on one side of a comparison, one of each unit.

    Attributes:
        embedding: float32 ``(rows, dims)``.
        beyond: Which rows the assigner does not cover, ``(rows,)``.
    """

    embedding: Rows
    beyond: Flags


@dataclass(frozen=True)
class Change:
    """Rows that arrived against rows before; a number is None with too few rows for it.

    Attributes:
        rows_before: Rows that the generation was fitted on, in all folds.
        arrived: Rows that are there now and were not then.
        gone: Rows that were there then and are not now.
        compared_before: Rows before that the tests looked at, one of each unit.
        compared_after: Rows that arrived that they looked at, one of each unit.
        accuracy: Of the classifier that tells rows that arrived from rows before.
        p_value: Of that accuracy.
        beyond_before: Share of rows before that the assigner does not cover.
        beyond_after: The same of the rows that arrived.
        beyond_p_value: Of a share that has grown so much.
    """

    rows_before: int
    arrived: int
    gone: int
    compared_before: int
    compared_after: int
    accuracy: float | None
    p_value: float | None
    beyond_before: float | None
    beyond_after: float | None
    beyond_p_value: float | None


@dataclass(frozen=True)
class PartitionChange(Change):
    """The same of one partition, with its specialist's validation loss then and now.

    Attributes:
        partition: Its number.
        loss_before: Loss when the generation was fitted.
        loss_after: Loss now.
        loss_p_value: Of a loss that has risen so much.
    """

    partition: int
    loss_before: float | None
    loss_after: float | None
    loss_p_value: float | None


def compare(counts: Sequence[int], before: Sample, after: Sample, seed: int) -> Change:
    """Both tests of two samples, beside the counts of the rows that they were drawn from.

    Args:
        counts: Rows before, arrived and gone.
        before: Rows that were there and that no fit has seen.
        after: Rows that arrived.
        seed: Seed of the classifier's halves.
    """
    found = two_sample_test(before.embedding, after.embedding, seed)
    rows_before, arrived, gone = counts
    return Change(
        rows_before=rows_before,
        arrived=arrived,
        gone=gone,
        compared_before=len(before.beyond),
        compared_after=len(after.beyond),
        accuracy=found.accuracy if found else None,
        p_value=found.p_value if found else None,
        beyond_before=_share(before.beyond),
        beyond_after=_share(after.beyond),
        beyond_p_value=share_growth(before.beyond, after.beyond),
    )


def two_sample_test(before: Rows, after: Rows, seed: int) -> Separation | None:
    """Classifier two-sample test: can a classifier tell the two samples apart?

    As many rows of each sample are drawn as the smaller one has. A logistic regression on the
    standardised embedding and its squares (so that a change of spread shows) learns from half of
    each and is judged on the other half. Given how many rows it calls new, the number of hits
    among them is hypergeometric if both samples have one source. This tail is exact for halves of
    equal size, where the binomial one of the paper is too light: 0.006 for 0.011 at 20 rows.

    Args:
        before: float32 ``(rows, dims)``.
        after: The same for the other sample.
        seed: Seed of the draws and halves.

    Returns:
        Accuracy on the held-out halves and its one-sided p-value; None with fewer than
        ``LEAST_ROWS`` rows in a sample.

    Source:
        Lopez-Paz and Oquab 2017 (arXiv 1610.06545); exact tail: Fisher 1935.
    """
    rows = min(len(before), len(after))
    if rows < LEAST_ROWS:
        return None
    rng = np.random.default_rng(seed)
    pair = [part[rng.permutation(len(part))[:rows]].astype(np.float64) for part in (before, after)]
    half = rows // 2
    learned = np.concatenate([part[:half] for part in pair])
    judged = np.concatenate([part[half:] for part in pair])
    called = _called_new(learned, np.repeat([False, True], half), judged)
    held = rows - half
    new, hits = int(called.sum()), int(called[held:].sum())
    accuracy = (hits + held - (new - hits)) / (2 * held)
    return Separation(accuracy, _tail(hits, 2 * held, new, held))


def share_growth(before: Flags, after: Flags) -> float | None:
    """One-sided p-value that a share is larger in ``after``; None with too few rows.

    Source:
        Fisher's exact test (Fisher 1935).
    """
    if min(len(before), len(after)) < LEAST_ROWS:
        return None
    marked = int(before.sum()) + int(after.sum())
    return _tail(int(after.sum()), len(before) + len(after), marked, len(after))


def loss_rise(before: Loss, after: Loss) -> float | None:
    """One-sided p-value that the mean loss has risen; None with too few units.

    Approximate: only means are known, so losses are taken to scatter as squares of normal errors
    do, by the square root of two times their mean, all rows of a unit as one of them; and the two
    sets are taken as drawn apart, though most rows are often in both. Both make the test more
    careful.
    """
    if min(before.units, after.units) < LEAST_ROWS:
        return None
    from scipy.stats import norm

    units = before.units + after.units
    both = (before.mean * before.units + after.mean * after.units) / units
    error = _SCATTER * both * math.sqrt(1 / before.units + 1 / after.units)
    return float(norm.sf((after.mean - before.mean) / error)) if error else 1.0


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P-values adjusted so that their smallest keeps the level of all tests together.

    None stands for a test that was not made, and stays.

    Source:
        Holm 1979.
    """
    made = sorted((value, place) for place, value in enumerate(p_values) if value is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (value, place) in enumerate(made):
        largest = max(largest, min(1.0, (len(made) - rank) * value))
        adjusted[place] = largest
    return adjusted


class Recommendation(NamedTuple):
    """Action, the partitions to retrain, and the reason in a sentence."""

    action: Literal["keep", "retrain", "grow", "refit"]
    partitions: list[int]
    reason: str


def recommend(
    overall: Change, partitions: Sequence[PartitionChange], level: float, new_kind: float = 0.0
) -> Recommendation:
    """Recommend what to do about the changes.

    The partitions' tests, their losses' and the one of the share that the assigner does not cover
    are corrected together (Holm), so where nothing has drifted the probability of another
    recommendation than ``keep`` is at most ``level`` (as far as the losses' scatter is as taken).

    ==========  ================================================================================
    grow        rows of a new kind have come: 20 or more in atoms where hardly any lay before
    refit       otherwise, the overall share of rows that the assigner does not cover has grown:
                the test rejects, and it is at least twice what it was
    retrain     otherwise, the partitions whose rows differ, and those whose validation loss rose:
                the test rejects, and it rose by at least a tenth, and by 0.01
    keep        otherwise; also where only the overall test of rows rejects, for then the rows are
                spread over the partitions in other shares, or too thinly to tell which differ
    ==========  ================================================================================

    The overall test of rows is no condition of ``refit``: a classifier's accuracy hardly shows a
    new cluster of a tenth of the rows, while the share beyond the threshold shows it at once.

    Args:
        overall: All rows.
        partitions: Those that have a specialist.
        level: Probability of a false alarm in one run.
        new_kind: Share of the rows that arrived which lie where hardly any lay before.

    Returns:
        The action; with ``grow`` and ``refit`` as well, the partitions that it would retrain
        otherwise.
    """
    adjusted = holm(
        [
            overall.beyond_p_value,
            *(part.p_value for part in partitions),
            *(part.loss_p_value for part in partitions),
        ]
    )
    uncovered, *rejected = [value is not None and value <= level for value in adjusted]
    pairs = list(zip(partitions, rejected[: len(partitions)], strict=True))
    differ = [part.partition for part, rejects in pairs if rejects]
    pairs = list(zip(partitions, rejected[len(partitions) :], strict=True))
    worse = [part.partition for part, rejects in pairs if rejects and _notable(part)]
    stale = sorted({*differ, *worse})
    if new_kind * overall.arrived >= LEAST_ROWS:
        share = share_text(new_kind)
        reason = f"{share} of the rows that arrived lie where hardly any lay before"
        return Recommendation("grow", stale, reason)
    if uncovered and _doubled(overall):
        return Recommendation("refit", stale, _refit_reason(overall))
    if stale:
        return Recommendation("retrain", stale, _retrain_reason(differ, worse))
    tested = any(value is not None for value in (*adjusted, overall.p_value))
    return Recommendation("keep", [], _keep_reason(overall, level, tested))


def _doubled(overall: Change) -> bool:
    before, after = overall.beyond_before, overall.beyond_after
    return before is not None and after is not None and after >= _GROWTH * before


def _notable(part: PartitionChange) -> bool:
    if part.loss_before is None or part.loss_after is None:
        return False
    least = max(_LEAST_RISE, _LEAST_RISE_SHARE * part.loss_before)
    return part.loss_after - part.loss_before >= least


def _refit_reason(overall: Change) -> str:
    before, after = share_text(overall.beyond_before), share_text(overall.beyond_after)
    return f"the assigner does not cover {after} of the rows that arrived; before, {before}"


def _retrain_reason(differ: Sequence[int], worse: Sequence[int]) -> str:
    parts = []
    if differ:
        parts.append(f"the rows that arrived in {_named(differ)} differ from those before")
    if worse:
        parts.append(f"the validation loss of {_named(worse)} rose")
    return "; ".join(parts)


def _named(partitions: Sequence[int]) -> str:
    word = "partition" if len(partitions) == 1 else "partitions"
    return f"{word} {', '.join(map(str, partitions))}"


def _keep_reason(overall: Change, level: float, tested: bool) -> str:
    if not overall.arrived:
        return "nothing has arrived since the generation was fitted"
    if not tested:
        return f"too few rows for a test, which takes {LEAST_ROWS} a side"
    if overall.p_value is not None and overall.p_value <= level:
        return (
            f"the rows that arrived differ overall (p = {overall.p_value:.2g}), but not within "
            f"any one partition as far as its rows can tell"
        )
    return "no test tells the rows that arrived from those that the generation was fitted on"


def _called_new(learned: Float64, new: Flags, judged: Float64) -> Flags:
    """Judged rows that a classifier takes for new ones; on one thread, for the same bits."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    scaled = StandardScaler().fit(learned)
    pair = [scaled.transform(part) for part in (learned, judged)]
    pair = [np.concatenate([part, part * part], axis=1) for part in pair]
    scaled = StandardScaler().fit(pair[0])
    model = LogisticRegression(C=_PENALTY, max_iter=_ITERATIONS)
    with threadpool_limits(1), warnings.catch_warnings():
        # A fit cut short may tell the samples apart less well, never wrongly.
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        model.fit(scaled.transform(pair[0]), new)
        called: Flags = model.predict(scaled.transform(pair[1]))
    return called


def _tail(hits: int, rows: int, marked: int, drawn: int) -> float:
    """Probability of at least ``hits`` marked rows among ``drawn`` of ``rows``."""
    from scipy.stats import hypergeom

    return float(hypergeom.sf(hits - 1, rows, marked, drawn))


def _share(flags: Flags) -> float | None:
    return float(flags.mean()) if len(flags) else None
