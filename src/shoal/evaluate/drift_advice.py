"""What to do about drift: keep everything, retrain some partitions, or refit the generation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from shoal.evaluate.drift import LEAST_ROWS, holm
from shoal.formats.text import share_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shoal.evaluate.drift import Change, PartitionChange

Action = Literal["keep", "retrain", "refit"]

_LEAST_RISE, _LEAST_RISE_SHARE = 0.01, 0.1
_GROWTH = 2.0


class Recommendation(NamedTuple):
    """What to do, the partitions to retrain, and why, in a sentence."""

    action: Action
    partitions: list[int]
    reason: str


def recommend(
    overall: Change, partitions: Sequence[PartitionChange], level: float
) -> Recommendation:
    """What to do about the changes.

    The partitions' tests, their losses' and the one of the share that the assigner does not cover
    are corrected together (Holm), so where nothing has drifted the probability of another
    recommendation than ``keep`` is at most ``level`` (as far as the losses' scatter is as taken).

    ==========  ================================================================================
    refit       the overall share of rows that the assigner does not cover has grown: the test
                rejects, and it is at least twice what it was
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

    Returns:
        The action; with ``refit`` as well, the partitions that it would retrain otherwise.
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
