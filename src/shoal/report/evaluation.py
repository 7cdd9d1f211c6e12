"""The report page of an evaluation."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shoal.formats.scores import SCORES
from shoal.formats.text import number_text, score_decimals
from shoal.formats.units import NAMES, units_text
from shoal.report.curves import Point, Series, curves_svg
from shoal.report.page import render, svg
from shoal.report.plots import COLOURS, colour, interval_svg, map_svg
from shoal.report.words import (
    best,
    checked_line,
    contender_title,
    contenders,
    critical_rows,
    doubt_lines,
    gate_line,
    held_out,
    incomplete_line,
    is_outdone,
    metrics_decimals,
    search_line,
)
from shoal.training.metrics import WORST_ROWS, WORST_UNITS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from shoal.formats.documents.index import Counts
    from shoal.formats.documents.judgement import Judged, Metrics
    from shoal.formats.documents.plan import RunSettings

_OWN_DECIMALS = 3
"""Decimals of scores that settings name."""
_METHODS = {"pca": "principal components", "umap": "UMAP"}


@dataclass(frozen=True)
class PartitionReport:
    """A partition on the page.

    Attributes:
        partition: Its number.
        rows: Rows by fold.
        test_units: Units of its test rows; as many as rows where each is its own.
        grid_point: The chosen grid point's values by name; None where there is no specialist.
        server: Who answers its rows: ``specialist``, ``generalist``, ``base`` or two of them.
        base_loss: Mean loss of the base on the partition's validation rows, None without any.
        specialist_loss: The same of the chosen specialist.
        generalist_score: The generalist's score on the partition's test rows, None without any.
        pool_score: The pool's, top 1.
        digest: The partition's training digest.
    """

    partition: int
    rows: Counts
    test_units: int
    grid_point: Mapping[str, object] | None
    server: str
    base_loss: float | None
    specialist_loss: float | None
    generalist_score: float | None
    pool_score: float | None
    digest: str

    @property
    def gain(self) -> float | None:
        """The pool's score minus the generalist's."""
        if self.pool_score is None or self.generalist_score is None:
            return None
        return self.pool_score - self.generalist_score

    @property
    def says_little(self) -> bool:
        """Whether there are too few test rows or units to go by."""
        return self.rows["test"] < WORST_ROWS or self.test_units < WORST_UNITS


@dataclass(frozen=True)
class StageCost:
    """Cost of all jobs of one stage together: FLOPs, and seconds summed over jobs.

    Memory, and that of a GPU, are in bytes of the job that took most.
    """

    stage: str
    jobs: int
    flops: float
    seconds: float
    memory: int = 0
    gpu_memory: int = 0


@dataclass(frozen=True)
class Candidate:
    """A number of partitions that probes have tried.

    Attributes:
        partitions: The number.
        loss: Mean validation loss of the probes.
        gain: How much less that is than with one partition.
        standard_error: Of the gain.
        taken: Whether this number was taken.
    """

    partitions: int
    loss: float
    gain: float
    standard_error: float
    taken: bool


@dataclass(frozen=True)
class ReportDetails:
    """Content of the page beside ``metrics.json``.

    Attributes:
        experiment: Its name.
        generation: Its number.
        partitions: The partitions in order.
        map_points: Coordinates ``(rows, 2)`` of a sample of rows; no rows, no map.
        map_partition: Partition of each of them, integers ``(rows,)``.
        map_method: ``pca`` or ``umap``.
        rows_in: Rows in the source files.
        dropped: Rows dropped on the way, by step, summed over shards.
        stages: Cost of each stage of the pool's making, in the order of the chain.
        intervals: 95 % interval of a contender's score, by name, where there is one.
        trained_on: For a contender in ``metrics.json``: what data it was trained on, in words.
        settings: The resolved settings, JSON values.
        lineage: Other things that say what this is made from, such as identities of generation
            and pool, by name.
        candidates: Numbers of partitions, where the number was chosen by probes.
        added: Rows added on the way, by step, summed over shards.
        versions: Versions of libraries by name.
        cluster: The page about the run on a cluster, seen from the published report; empty where
            it ran on none.
        answers: The page that compares the choices, seen from the published report; empty where
            there is one variant and one grid point.
    """

    experiment: str
    generation: int
    partitions: Sequence[PartitionReport]
    map_points: NDArray[Any]
    map_partition: NDArray[Any]
    map_method: str
    rows_in: int
    dropped: Mapping[str, int]
    stages: Sequence[StageCost]
    trained_on: Mapping[str, str]
    settings: RunSettings
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    lineage: Mapping[str, str] = field(default_factory=dict)
    candidates: Sequence[Candidate] = ()
    added: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    cluster: str = ""
    answers: str = ""


def report_page(metrics: Metrics, details: ReportDetails) -> str:
    """Make one self-contained HTML page: no scripts, no outside resources, all text escaped.

    Args:
        metrics: Content of ``metrics.json``.
        details: Everything else.

    Returns:
        The page; the same input gives the same text.
    """
    metric, difference = metrics["metric"], metrics["difference"]
    decimals = metrics_decimals(metrics)
    ends = difference["value"], difference["low"], difference["high"]
    value, low, high = (number_text(number, decimals, sign=True) for number in ends)
    interval = interval_svg(ends, (value, low, high), lower_is_better=SCORES[metric].sign < 0)
    found = contenders(metrics)
    units = metrics.get("units")
    kind = units["kind"] if units else None
    costs = details.stages
    total = StageCost(
        "All",
        sum(each.jobs for each in costs),
        sum(each.flops for each in costs),
        sum(each.seconds for each in costs),
        max((each.memory for each in costs), default=0),
        max((each.gpu_memory for each in costs), default=0),
    )
    return render(
        "report/evaluation.html.jinja",
        details.experiment,
        metrics=metrics,
        details=details,
        metric=SCORES[metric].title,
        is_class=SCORES[metric].task == "classification",
        titles={name: facts.title for name, facts in SCORES.items()},
        others=_others(metrics),
        sign=SCORES[metric].sign,
        decimals=decimals,
        gate=gate_line(metrics["gate"]),
        search_line=search_line(metrics["search"]) if "search" in metrics else "",
        incomplete=[incomplete_line(lack) for lack in metrics["incomplete"]],
        interval=svg(interval),
        drawn=held_out(metrics, "test rows"),
        contenders=found,
        title_of=contender_title,
        best=best(metric, {name: numbers["score"] for name, numbers in found.items()}),
        equality=_equality(metrics),
        curves=svg(_curves(metrics, details, decimals)),
        critical=critical_rows(metrics),
        outdone=is_outdone(metrics),
        kind=kind,
        units=NAMES[kind][1] if kind else "",
        units_text=units_text,
        worst_rows=WORST_ROWS,
        worst_units=WORST_UNITS,
        colour=colour,
        map=svg(map_svg(details.map_points, details.map_partition))
        if len(details.map_points)
        else "",
        map_method=_METHODS.get(details.map_method, details.map_method),
        colours_repeat=len(details.partitions) > len(COLOURS),
        leaks=doubt_lines(metrics),
        leaks_checked=checked_line(metrics["leaks"]),
        rows=_row_counts(metrics, details),
        missing=_missing_rows(metrics, details),
        costs=[*costs, total],
        cost=total,
        settings=json.dumps(details.settings, indent=2, ensure_ascii=False),
        digests="\n".join(f"{p.partition:>4}  {p.digest}" for p in details.partitions),
    )


def not_chosen_page(metrics: Judged, own: str, settings: RunSettings, answers: str) -> str:
    """Make the page of a variant that was not chosen; it has no test score.

    Args:
        metrics: Content of ``metrics.json``, with the search.
        own: Id of the variant.
        settings: The run's settings.
        answers: The page that compares the choices, seen from this one; empty where there is none.
    """
    return render(
        "report/not_chosen.html.jinja",
        settings["name"],
        metrics=metrics,
        line=search_line(metrics["search"]),
        own=own,
        experiment=settings["name"],
        generation=settings["generation"],
        answers=answers,
        settings=json.dumps(settings, indent=2, ensure_ascii=False),
    )


def _others(metrics: Metrics) -> dict[str, int]:
    """Scores besides the one that decides, and the decimals that they are shown with."""
    known = [each.get("scores", {}) for each in contenders(metrics).values()]
    decimals = {}
    for name in {name: None for each in known for name in each}:
        values = [value for each in known if (value := each.get(name)) is not None]
        if name != metrics["metric"] and values:
            decimals[name] = score_decimals(name, values) if name in SCORES else _OWN_DECIMALS
    return decimals


def _curves(metrics: Metrics, details: ReportDetails, decimals: int) -> str:
    """Plot of the contenders' scores against their FLOPs, of the pool as it is shipped alone."""
    found = contenders(metrics)
    level = None
    if "constant" in found:
        level = contender_title("constant"), found.pop("constant")["score"]
    for name in {"pool_top1", "pool_top2"} - {metrics["shipped"]}:
        found.pop(name, None)
    series = []
    for name, own in found.items():
        low, high = details.intervals.get(name, (None, None))
        flops = own["train_flops"], own["inference_flops_per_row"]
        title = contender_title(name) + (", as shipped" if name == metrics["shipped"] else "")
        series.append(Series(title, [Point(flops, own["score"], low, high)]))
    return curves_svg(series, SCORES[metrics["metric"]].title, decimals, level)


def _equality(metrics: Metrics) -> str:
    """Say how equal training FLOPs and FLOPs per predicted row are."""
    pool, generalist = metrics[metrics["shipped"]], metrics["generalist"]
    pairs = (
        ("training", pool["train_flops"], generalist["train_flops"]),
        ("inference", pool["inference_flops_per_row"], generalist["inference_flops_per_row"]),
    )
    parts = [
        f"{own / other:.2f} times the generalist's {name} FLOPs"
        for name, own, other in pairs
        if other
    ]
    return f"The pool took {' and '.join(parts)}." if parts else ""


def _row_counts(metrics: Metrics, details: ReportDetails) -> dict[str, int]:
    """Account for every source row, then for rows that steps have added."""
    rows = metrics["rows"]
    return {
        "Training fold": rows["train"],
        "Validation fold": rows["validation"],
        "Test fold": rows["test"],
        "Outside every fold": rows["outside"],
        **{f"Dropped by {step}": count for step, count in details.dropped.items()},
        **{f"Added by {step}": count for step, count in details.added.items()},
    }


def _missing_rows(metrics: Metrics, details: ReportDetails) -> int:
    """Source rows that are not accounted for; negative where there are too many."""
    accounted = sum(_row_counts(metrics, details).values()) - 2 * sum(details.added.values())
    return details.rows_in - accounted
