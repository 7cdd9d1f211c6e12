"""The summary as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from benchmarks.regimes.contenders import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Iterable

_NONE = "-"
_OVERVIEW = (
    *("generalist", "widths", REFERENCE, "random_partitions", "true_regime", "boosted_trees"),
)
_DETAILS = {
    "score": ("score", ".3f"),
    "log_loss": ("log-loss", ".3f"),
    "calibration_error": ("calibration error", ".3f"),
    "worst_partition": ("worst partition", ".3f"),
    "rgr_routed": ("RGR, routable", ".2f"),
    "rgr_best": ("RGR, best generalist", ".2f"),
    "ari": ("ARI to true regime", ".2f"),
    "stability": ("stability", ".2f"),
    "train_flops": ("training FLOPs", ".2e"),
    "inference_flops_per_row": ("FLOPs a row", ".0f"),
    "training_seconds": ("training s", ".0f"),
}


def page(summary: pd.DataFrame) -> str:
    """An overview, a line a dataset; then a table a dataset."""
    parts = ["# Overview", "", *_overview(summary), ""]
    for (dataset, budget), table in summary.groupby(["dataset", "budget"], sort=False):
        seeds = int(table["seeds"].max())
        parts += [f"# {dataset}, budget {budget:g}, {seeds} seeds, {table['metric'].iloc[0]}", ""]
        parts += [*_details(table), ""]
    return "\n".join(parts)


def _overview(summary: pd.DataFrame) -> Iterable[str]:
    heads = [name.replace("_", " ") for name in _OVERVIEW]
    yield _row(["data", "budget", "seeds", *heads, f"gain of {REFERENCE} (95 %)", "RGR (95 %)"])
    yield _row(["---"] * (len(heads) + 5))
    for (dataset, budget), table in summary.groupby(["dataset", "budget"], sort=False):
        scores = [_number(by_name(table, name).get("score"), ".3f") for name in _OVERVIEW]
        line = by_name(table, REFERENCE)
        cells = [str(dataset), f"{budget:g}", str(line["seeds"]), *scores]
        yield _row([*cells, _gain(line), _rgr(line)])


def by_name(table: pd.DataFrame, contender: str) -> dict[str, Any]:
    """The line of a contender; empty where there is none."""
    found = table[table["contender"] == contender].to_dict("records")
    return {str(key): value for key, value in found[0].items()} if found else {}


def _details(table: pd.DataFrame) -> Iterable[str]:
    heads = [head for head, _ in _DETAILS.values()]
    yield _row(["contender", "gain (95 %)", "p, Holm", "RGR (95 %)", *heads])
    yield _row(["---"] * (len(heads) + 4))
    for contender in table["contender"]:
        line = by_name(table, contender)
        numbers = [_number(line.get(name), form) for name, (_, form) in _DETAILS.items()]
        name = f"{contender} ({line['notes']})" if line["notes"] else contender
        own = [name, _gain(line), _number(line["p_holm"], ".3f"), _rgr(line)]
        yield _row([*own, *numbers])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: Any, form: str) -> str:  # noqa: ANN401 - whatever a table holds
    return _NONE if value is None or pd.isna(value) else format(float(value), form)


def _gain(line: dict[str, Any]) -> str:
    if line["contender"] == "generalist":
        return "0"
    form = "+.3f"
    low, high = _number(line["gain_low"], form), _number(line["gain_high"], form)
    return f"{_number(line['gain'], form)} ({low} to {high})"


def _rgr(line: dict[str, Any]) -> str:
    value = _number(line.get("rgr"), ".2f")
    low, high = _number(line.get("rgr_low"), ".2f"), _number(line.get("rgr_high"), ".2f")
    return value if low == _NONE else f"{value} ({low} to {high})"
