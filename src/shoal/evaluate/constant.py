"""The best contender against the constant answer: what beats nothing has learnt nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from shoal.evaluate.bootstrap import Difference, paired_bootstrap
from shoal.formats import text as formats
from shoal.training.metrics import score

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from shoal.formats.kinds import Metric
    from shoal.settings.learning import Evaluate

CONSTANT = "constant"
NO_BETTER: Literal["no better than constant"] = "no better than constant"
"""The verdict where no contender beats the constant answer."""

_SPOKEN = {
    "pool_top1": "the pool",
    "pool_top2": "the pool with two specialists per row",
    "ungated": "the ungated pool",
    "generalist": "the generalist",
    "random_partitions": "specialists on random partitions",
}
_ANSWERS = {"accuracy": "the most frequent class", "rmse": "the mean"}


def against_constant(
    metric: Metric,
    per_row: Mapping[str, NDArray[np.float64]],
    settings: Evaluate,
    units: NDArray[np.uint64] | None,
) -> dict[str, Any]:
    """How the best of the contenders compares with the constant answer.

    Args:
        metric: ``accuracy`` or ``rmse``.
        per_row: Values by row of all contenders, ``constant`` among them, ``(rows,)``.
        settings: Resamples and seed of the paired bootstrap.
        units: Unit of each row; None where each is its own.

    Returns:
        ``contender``: the one with the best score, the first of equals; ``value``, ``low`` and
        ``high`` of its score minus the constant's; ``beats``: whether the interval leaves out zero
        on the better side, None where there are too few units for one and its score is better.
    """
    sign = 1 if metric == "accuracy" else -1
    others = [name for name in per_row if name != CONSTANT]
    best = max(others, key=lambda name: sign * score(metric, per_row[name]))
    gain = paired_bootstrap(
        per_row[best],
        per_row[CONSTANT],
        metric,
        settings.bootstrap,
        settings.seed,
        units=units,
    )
    beats = gain.sign == sign
    unknown = gain.low is None and sign * gain.value > 0
    return {"contender": best, **gain._asdict(), "beats": None if unknown else beats}


def no_better_text(metric: Metric, found: Mapping[str, Any], scores: tuple[float, float]) -> str:
    """A sentence for :func:`against_constant` that says no contender beats the constant answer.

    Args:
        metric: ``accuracy`` or ``rmse``.
        found: What :func:`against_constant` gave.
        scores: Of the best contender, and of the constant answer.
    """
    gain = Difference(found["value"], found["low"], found["high"])
    ends = [end for end in (gain.low, gain.high) if end is not None]
    decimals = formats.score_decimals(metric, scores, ends)
    best, constant = (formats.number_text(number, decimals) for number in scores)
    name = {"accuracy": "accuracy", "rmse": "RMSE"}[metric]
    better = (gain.value > 0) == (metric == "accuracy") and gain.value != 0
    doubt = ""
    if better and gain.low is not None:
        value, low, high = (formats.number_text(n, decimals, sign=True) for n in gain)
        doubt = f" (difference {value}, 95 % interval {low} to {high})"
    return (
        f"No model is {'significantly ' if better else ''}better than a constant answer: {name} is "
        f"{constant} where {_ANSWERS[metric]} of the training labels is the answer for every row, "
        f"and {best} for the best model, {_SPOKEN[found['contender']]}{doubt}."
    )
