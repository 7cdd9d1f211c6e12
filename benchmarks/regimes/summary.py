"""Means over seeds with paired intervals, and the share of the true regimes' gain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks.regimes.collect import GENERALIST
from benchmarks.regimes.numbers import (
    gain,
    holm,
    interval,
    resampled_scores,
    rgr,
    stability,
    two_sided,
)

if TYPE_CHECKING:
    from benchmarks.regimes.collect import Measured
    from shoal.formats.kinds import Metric

RESAMPLES = 2000
TRUTH = "true_regime"
ROUTED = "routed_regime"
WIDEST = "widths"
_MEANS = (
    *("score", "log_loss", "calibration_error", "worst_partition", "train_flops"),
    *("inference_flops_per_row", "training_seconds", "workflow_seconds", "partitions", "ari"),
)


def summary(cells: list[Measured], records: pd.DataFrame) -> pd.DataFrame:
    """A line a dataset, budget and contender.

    Args:
        cells: Every cell.
        records: A line a cell and contender.

    Returns:
        Means over seeds; ``gain`` over the generalist of the same training FLOPs with its 95 %
        interval ``gain_low`` to ``gain_high``, p-value and p-value after Holm's correction over
        datasets; ``rgr`` against that generalist, ``rgr_routed`` where the true regimes are routed
        by a learned router instead of told, ``rgr_best`` against the better of it and the
        best of four widths, whose name is in ``best_generalist``, with an interval; ``stability``.
    """
    groups: dict[tuple[str, float], list[Measured]] = {}
    for cell in cells:
        groups.setdefault((cell.cell.dataset, cell.cell.budget), []).append(cell)
    lines = [line for group in groups.values() for line in _lines(group, records)]
    table = pd.DataFrame(lines)
    adjusted = table.groupby(["contender", "budget"])["p"].transform(lambda p: holm(list(p)))
    return table.assign(p_holm=adjusted)


def _lines(group: list[Measured], records: pd.DataFrame) -> list[dict[str, Any]]:
    """The lines of one dataset and budget."""
    first = group[0]
    same = records[
        (records["dataset"] == first.cell.dataset) & (records["budget"] == first.cell.budget)
    ]
    scores = _Scores(group)
    lines = []
    for name, own in same.groupby("contender", sort=False):
        line: dict[str, Any] = {
            "dataset": first.cell.dataset,
            "budget": first.cell.budget,
            "contender": name,
            "kind": own["kind"].iloc[0],
            "metric": first.metric,
            "seeds": len(own),
            "score_sd": float(own["score"].std()) if len(own) > 1 else np.nan,
            "notes": ", ".join(sorted(set(own["note"].dropna()))) if "note" in own else "",
            **{column: _mean(own, column) for column in _MEANS},
        }
        line |= scores.comparison(str(name))
        found = [cell.partitions[str(name)] for cell in group if name in cell.partitions]
        line["stability"] = stability(found)
        lines.append(line)
    return lines


def _mean(table: pd.DataFrame, column: str) -> float:
    known = pd.to_numeric(table[column], errors="coerce") if column in table else pd.Series([])
    return float(known.mean()) if known.notna().any() else np.nan


class _Scores:
    """Scores of one dataset and budget, as they are and resampled."""

    def __init__(self, group: list[Measured]) -> None:
        self._metric: Metric = "accuracy" if group[0].metric == "accuracy" else "rmse"
        self._names = list(group[0].values.columns)
        tables = [cell.values[self._names].to_numpy(dtype=np.float64) for cell in group]
        means = np.stack([table.mean(axis=0) for table in tables])
        self._scores = (means if self._metric == "accuracy" else np.sqrt(means)).mean(axis=0)
        self._drawn = resampled_scores(self._metric, tables, RESAMPLES, seed=0)
        self._best = GENERALIST
        if WIDEST in self._names and self._ahead(WIDEST, GENERALIST)[0] > 0:
            self._best = WIDEST

    def _of(self, name: str) -> int:
        return self._names.index(name)

    def _ahead(self, name: str, other: str) -> tuple[float, np.ndarray[Any, Any]]:
        """How much better one is than another: measured, and resampled."""
        a, b = self._of(name), self._of(other)
        drawn = gain(self._metric, self._drawn[:, a], self._drawn[:, b])
        return float(gain(self._metric, self._scores[a], self._scores[b])), drawn

    def comparison(self, name: str) -> dict[str, Any]:
        """Gain and RGR of a contender."""
        own = f"generalist of {name}"
        rival = own if own in self._names else GENERALIST
        ahead, drawn = self._ahead(name, rival)
        low, high = interval(drawn)
        line: dict[str, Any] = {"gain": ahead, "gain_low": low, "gain_high": high}
        line["p"] = 1.0 if name == rival else two_sided(drawn)
        if name in (TRUTH, ROUTED, GENERALIST):
            return line
        if ROUTED in self._names:
            line["rgr_routed"] = self._share(name, rival, ROUTED)
        if TRUTH not in self._names:
            return line
        line["rgr"] = self._share(name, rival)
        best = self._best if self._best != GENERALIST else rival
        line["rgr_best"] = self._share(name, best)
        line["best_generalist"] = best.partition(" of ")[0]
        won, possible = self._ahead(name, rival)[1], self._ahead(TRUTH, rival)[1]
        if line["rgr"] is not None and (possible > 0).all():
            line["rgr_low"], line["rgr_high"] = interval(won / possible)
        return line

    def _share(self, name: str, rival: str, ceiling: str = TRUTH) -> float | None:
        pool, generalist, truth = (
            float(self._scores[self._of(each)]) for each in (name, rival, ceiling)
        )
        return rgr(self._metric, pool, generalist, truth)
