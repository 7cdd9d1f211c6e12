"""Plots of the summary, as SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.formats.files import replacing
from shoal.report.plots import COLOURS

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

_CURVES = {"generalist": "o-", "widths": "s-", "true_regime": "^--"}
_SPREAD = 0.6
_BAND = "#f2f2f2"


def draw(summary: pd.DataFrame, gains: Path, agreement: Path, curve: Path) -> None:
    """Write three plots.

    Args:
        summary: A line a dataset, budget and contender.
        gains: Gain of each pool over the generalist of the same training FLOPs, by dataset.
        agreement: RGR against the adjusted Rand index to the true regimes.
        curve: Score against budget, of the datasets that have several budgets.
    """
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "regimes"  # the same bytes for the same numbers
    pools = summary[(summary["kind"] == "pool") & ~summary["contender"].str.contains(",")]
    _save(_gains(pools[pools["budget"] == 1.0]), gains)
    _save(_agreement(pools[pools["budget"] == 1.0]), agreement)
    _save(_curve(summary), curve)


def _save(figure: Any, path: Path) -> None:  # noqa: ANN401 - a matplotlib figure
    with replacing(path) as aside:
        figure.savefig(aside, format="svg", bbox_inches="tight", metadata={"Date": None})


def _axes(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _gains(pools: pd.DataFrame) -> Any:  # noqa: ANN401 - a matplotlib figure
    datasets = list(dict.fromkeys(pools["dataset"]))
    names = list(dict.fromkeys(pools["contender"]))
    figure, axes = _axes(7.5, 1.2 + (0.3 + 0.1 * len(names)) * len(datasets))
    places = np.linspace(-_SPREAD / 2, _SPREAD / 2, len(names)) if len(names) > 1 else [0.0]
    for name, offset, colour in zip(names, places, COLOURS, strict=False):
        own = pools[pools["contender"] == name]
        scale = np.where(own["metric"] == "rmse", 100 / (own["score"] + own["gain"]), 100.0)
        middle, low, high = (own[column] * scale for column in ("gain", "gain_low", "gain_high"))
        height = [datasets.index(dataset) + offset for dataset in own["dataset"]]
        # A resampled interval need not hold the measured mean where seeds are few.
        spread = np.maximum([middle - low, high - middle], 0)
        axes.errorbar(middle, height, xerr=spread, fmt="o", ms=4, lw=1.2, c=colour, label=name)
    for number in range(0, len(datasets), 2):
        axes.axhspan(number - 0.5, number + 0.5, color=_BAND, lw=0, zorder=0)
    axes.axvline(0, color="#888888", lw=0.8)
    axes.set_yticks(range(len(datasets)), datasets)
    axes.set_ylim(len(datasets) - 0.5, -0.5)
    axes.set_xlabel(
        "gain over the generalist of the same training FLOPs:\n"
        "points of accuracy, or per cent of its RMSE; 95 % over seeds and rows"
    )
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _agreement(pools: pd.DataFrame) -> Any:  # noqa: ANN401 - a matplotlib figure
    known = pools.dropna(subset=["ari", "rgr"]) if "rgr" in pools else pools.iloc[:0]
    figure, axes = _axes(6, 4)
    for name, colour in zip(dict.fromkeys(known["contender"]), COLOURS, strict=False):
        own = known[known["contender"] == name]
        axes.plot(own["ari"], own["rgr"], "o", ms=5, c=colour, label=name)
    for line in known.itertuples():
        place = {"textcoords": "offset points", "xytext": (5, 3), "fontsize": 7}
        axes.annotate(line.dataset, (line.ari, line.rgr), **place)
    axes.axhline(0, color="#888888", lw=0.8)
    axes.set_xlabel("adjusted Rand index of partitions to true regimes")
    axes.set_ylabel("RGR, against the generalist")
    if len(known):
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _curve(summary: pd.DataFrame) -> Any:  # noqa: ANN401 - a matplotlib figure
    count = summary.groupby("dataset")["budget"].transform("nunique")
    several = summary[(count > 1) & ~summary["contender"].str.contains(",")]
    figure, axes = _axes(6, 4)
    shown = several[several["contender"].isin(_CURVES) | (several["kind"] == "pool")]
    points = shown["contender"].value_counts(sort=False)
    names = [str(name) for name in points[points > 1].index]
    for name, colour in zip(names, COLOURS, strict=False):
        own = several[several["contender"] == name].sort_values("budget")
        axes.plot(own["budget"], own["score"], _CURVES.get(name, "o-"), c=colour, label=name)
    axes.set_xscale("log", base=2)
    budgets = sorted(set(several["budget"]))
    axes.set_xticks(budgets, [f"{budget:g}" for budget in budgets])
    axes.set_xlabel("budget, as a multiple of the dataset's own")
    axes.set_ylabel("score")
    axes.set_title(", ".join(dict.fromkeys(several["dataset"])))
    if names:
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure
