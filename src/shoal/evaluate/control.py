"""Shuffled labels: every score must be at chance, and what beats chance betrays a leak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import DataError
from shoal.evaluate.bootstrap import paired_bootstrap
from shoal.formats import text as formats
from shoal.split.keys import flat_keys

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.formats.kinds import Metric

JUDGED = {"pool_top1": "the pool", "generalist": "the generalist"}
"""Contenders that must not beat the constant answer."""
CONFIDENCE = 0.99
"""Of each interval. One end of each of two decides, so 1 clean run in 100 is accused at most."""
LEAK = "leak"
AT_CHANCE = "at chance"


def control(
    metric: Metric,
    per_row: Mapping[str, NDArray[np.float64]],
    keys: NDArray[np.uint8],
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Whether pool and generalist beat the constant answer on shuffled labels.

    Equal keys drew the same label, so one row a key is looked at. Then labels are independent, also
    those of rows that the split takes for a unit.

    Args:
        metric: ``accuracy`` or ``rmse``.
        per_row: Values by row of the judged contenders and of ``constant``, ``(rows,)``.
        keys: Keys of the test rows, uint8 ``(rows, KEY_BYTES)``.
        resamples: Of the paired bootstrap.
        seed: Of the paired bootstrap.

    Returns:
        ``confidence``, ``rows``, and for each judged contender ``value``, ``low`` and ``high`` of
        its score minus the constant's, and whether it ``beats`` it: the interval leaves out zero
        on the better side.
    """
    rows = np.unique(flat_keys(keys), return_index=True)[1]
    found: dict[str, Any] = {"confidence": CONFIDENCE, "rows": len(rows)}
    constant = per_row["constant"][rows]
    for name in JUDGED:
        values = per_row[name][rows]
        gain = paired_bootstrap(values, constant, metric, resamples, seed, CONFIDENCE)
        found[name] = gain._asdict() | {"beats": gain.sign == (1 if metric == "accuracy" else -1)}
    return found


def control_verdict(metric: Metric, found: Mapping[str, Any]) -> tuple[str, str]:
    """:data:`LEAK` or :data:`AT_CHANCE`, and a sentence about what :func:`control` found."""
    beating = [name for name in JUDGED if found[name]["beats"]]
    gains = {name: _gain_text(metric, found[name]) for name in beating or JUDGED}
    told = " and ".join(f"{JUDGED[name]} by {text}" for name, text in gains.items())
    interval = f"{found['confidence']:.0%} interval".replace("%", " %")
    name = {"accuracy": "accuracy", "rmse": "RMSE"}[metric]
    if beating:
        return LEAK, (
            f"Labels are shuffled, yet {name} is better than that of the constant answer: {told} "
            f"({interval}); a leak is likely: a column, a transform or an encoder holds the label, "
            f"or rows of the test fold are in training."
        )
    return AT_CHANCE, (
        f"Labels are shuffled, and as it must be, nothing beats the constant answer: {name} "
        f"differs for {told} ({interval})."
    )


def _gain_text(metric: Metric, gain: Mapping[str, float]) -> str:
    ends = [gain[name] for name in ("low", "high") if gain[name] is not None]
    decimals = formats.score_decimals(metric, [gain["value"]], ends)
    value, *around = (
        formats.number_text(number, decimals, sign=True) for number in (gain["value"], *ends)
    )
    return f"{value}, {' to '.join(around) or 'too few rows for an interval'}"


def refuse_leak(metrics: Mapping[str, Any], report: Path) -> None:
    """Stop what comes after evaluate where shuffled labels were learnt.

    Raises:
        DataError: They were.
    """
    if metrics["verdict"] == LEAK:
        raise DataError(f"{report}: {metrics['sentence']} Nothing was published.")
