"""Pool against generalist, and the best contender against the constant answer, by unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.evaluate.bootstrap import paired_bootstrap
from shoal.evaluate.constant import against_constant, no_better_text
from shoal.evaluate.verdict import verdict
from shoal.formats.units import least_units, numbered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from shoal.formats.kinds import Metric
    from shoal.settings.learning import Evaluate


def compared(
    settings: Evaluate,
    metric: Metric,
    measured: Mapping[str, Mapping[str, Any]],
    per_row: Mapping[str, NDArray[np.float64]],
    units: NDArray[np.uint64] | None,
    made_by: str | None,
) -> dict[str, Any]:
    """Comparisons in ``metrics.json``, beside each contender's own numbers.

    Args:
        settings: Resamples and seed of the bootstrap.
        metric: ``accuracy`` or ``rmse``.
        measured: Of each contender, ``score`` and ``train_flops`` among others.
        per_row: Values of the metric by row of each contender, ``(rows,)``.
        units: Unit of each row; None where each is its own.
        made_by: What makes units, see :func:`shoal.split.folds.kind`.

    Returns:
        ``units``, ``verdict``, ``sentence``, ``difference``, ``against_constant``, ``bootstrap``
        and ``interval``, that of the pool's score.
    """
    a, b = per_row["pool_top1"], per_row["generalist"]
    count = numbered(units, len(a))[1]
    counted = {"kind": made_by, "test": count, "least": least_units(0.025)}
    drawn = {"resamples": settings.bootstrap, "seed": settings.seed}
    difference = paired_bootstrap(a, b, metric, **drawn, units=units)
    best = against_constant(metric, per_row, settings, units)
    no_better = ""
    if best["beats"] is False:
        pair = measured[best["contender"]]["score"], measured["constant"]["score"]
        no_better = no_better_text(metric, best, pair)
    both = measured["pool_top1"], measured["generalist"]
    pool, generalist = (each["score"] for each in both)
    spent = both[0]["train_flops"], both[1]["train_flops"]
    word, sentence = verdict(metric, difference, pool, generalist, spent, counted, no_better)
    # Its difference to a model without errors, or without a right answer, is the score itself.
    alone = paired_bootstrap(a, np.zeros_like(a), metric, **drawn, units=units)
    return {
        "units": counted,
        "verdict": word,
        "sentence": sentence,
        "difference": difference._asdict(),
        "against_constant": best,
        "interval": {"low": alone.low, "high": alone.high},
        "bootstrap": drawn,
    }
