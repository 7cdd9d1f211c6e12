"""The report page: one HTML file that shows everything evaluate found."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shoal.evaluate.accounting import row_accounting, stage_rows
from shoal.evaluate.bootstrap import Difference
from shoal.evaluate.interval import interval_svg
from shoal.evaluate.leaks import checked_line, doubt_lines
from shoal.evaluate.verdict import (
    METRIC_NAMES,
    best,
    contender_title,
    contenders,
    gate_line,
    held_out,
    metrics_decimals,
)
from shoal.formats import text as formats
from shoal.formats.units import NAMES, units_text
from shoal.pool.incomplete import incomplete_line
from shoal.report.page import TEMPLATE, render
from shoal.report.partition_map import COLOURS, colour, map_svg
from shoal.training.metrics import WORST_ROWS, WORST_UNITS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup
    from numpy.typing import NDArray

_COMPARED = ("pool_top1", "generalist")


@dataclass(frozen=True)
class PartitionReport:
    """What the page says about one partition.

    Attributes:
        partition: Its number.
        rows: Rows by fold: ``train``, ``validation``, ``test``.
        test_units: Units of its test rows; as many as rows where each is its own.
        grid_point: The chosen grid point's values by name; None where there is no specialist.
        server: Who answers its rows: ``specialist``, ``generalist`` or ``base``.
        base_loss: Mean loss of the base on the partition's validation rows, None without any.
        specialist_loss: The same of the chosen specialist.
        generalist_score: The generalist's score on the partition's test rows, None without any.
        pool_score: The pool's, top 1.
        digest: The partition's training digest.
    """

    partition: int
    rows: Mapping[str, int]
    test_units: int
    grid_point: Mapping[str, Any] | None
    server: str
    base_loss: float | None
    specialist_loss: float | None
    generalist_score: float | None
    pool_score: float | None
    digest: str


@dataclass(frozen=True)
class StageCost:
    """What all jobs of one stage cost together: FLOPs, and seconds summed over jobs."""

    stage: str
    jobs: int
    flops: float
    seconds: float


@dataclass(frozen=True)
class ReportDetails:
    """What the page shows beside ``metrics.json``.

    Attributes:
        experiment: Its name.
        generation: Its number.
        partitions: One entry a partition, in order.
        map_points: Coordinates ``(rows, 2)`` of a sample of rows; no rows, no map.
        map_partition: Partition of each of them, integers ``(rows,)``.
        map_method: ``pca`` or ``umap``.
        rows_in: Rows in the source files.
        dropped: Rows dropped on the way, by step, summed over shards.
        stages: Cost of each stage of the pool's making, in the order of the chain.
        trained_on: For a contender in ``metrics.json``: what data it was trained on, in words.
        settings: The resolved settings, JSON values.
        lineage: Other things that say what this is made from, such as identities of generation
            and pool, by name.
        candidates: What probes lost with each number of partitions (``partitions``, ``loss``,
            ``gain``, ``standard_error``, ``taken``), where the number was chosen by them.
        added: Rows added on the way, by step, summed over shards.
        versions: Versions of libraries by name.
        cluster: The page that says what the run took on a cluster, seen from the published report;
            empty where it ran on none.
        answers: The page that says what each choice did, seen from the published report; empty
            where there is one variant and one grid point.
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
    settings: Mapping[str, Any]
    lineage: Mapping[str, str] = field(default_factory=dict)
    candidates: Sequence[Mapping[str, Any]] = ()
    added: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    cluster: str = ""
    answers: str = ""


def report_page(metrics: Mapping[str, Any], details: ReportDetails) -> str:
    """One self-contained HTML page: no scripts, no outside resources, all text escaped.

    Args:
        metrics: Content of ``metrics.json``.
        details: Everything else.

    Returns:
        The page; the same input gives the same text.
    """
    map_rows = len(details.map_points)
    content = {
        **_head(metrics, details),
        "contenders": _contender_rows(metrics),
        "equality": _equality(metrics),
        "with_loss": metrics["metric"] == "accuracy",
        "trained_on": [(contender_title(n), t) for n, t in details.trained_on.items()],
        "partitions": [_partition_row(p, metrics) for p in details.partitions],
        "worst_rows": WORST_ROWS,
        "units": _units_name(metrics),
        "worst_units": WORST_UNITS,
        "candidates": [_candidate_row(each) for each in details.candidates],
        "map": _svg(map_svg(details.map_points, details.map_partition)) if map_rows else "",
        "map_caption": _map_caption(details),
        "leaks": doubt_lines(metrics),
        "leaks_checked": checked_line(metrics["leaks"]),
        **row_accounting(metrics, details),
        "stages": stage_rows(details.stages),
        "cluster": details.cluster,
        "answers": details.answers,
        "lineage": _lineage(details),
        "settings": json.dumps(details.settings, indent=2, ensure_ascii=False),
        "digests": "\n".join(f"{p.partition:>4}  {p.digest}" for p in details.partitions),
    }
    return render(details.experiment, TEMPLATE, content)


def _svg(text: str) -> Markup:
    """SVG that this package made from numbers alone, or from text it escaped."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704 - see above


def _head(metrics: Mapping[str, Any], details: ReportDetails) -> dict[str, Any]:
    metric = metrics["metric"]
    difference = Difference(**metrics["difference"])
    decimals = metrics_decimals(metrics)
    labels = [formats.number_text(n, decimals, sign=True) for n in difference]
    seconds = sum(stage.seconds for stage in details.stages)
    flops = sum(stage.flops for stage in details.stages)
    jobs = sum(stage.jobs for stage in details.stages)
    return {
        "experiment": details.experiment,
        "generation": details.generation,
        "sentence": metrics["sentence"],
        "gate": gate_line(metrics["gate"]),
        "incomplete": [incomplete_line(lack) for lack in metrics["incomplete"]],
        "verdict_class": metrics["verdict"].replace(" ", "-"),
        "metric_name": METRIC_NAMES[metric],
        "interval": _svg(interval_svg(difference, metric == "rmse", labels)),
        "resamples": formats.count_text(metrics["bootstrap"]["resamples"]),
        "bootstrap_seed": metrics["bootstrap"]["seed"],
        "drawn": held_out(metrics, "test rows"),
        "facts": [
            ("source rows", formats.count_text(details.rows_in)),
            ("partitions", formats.count_text(metrics["partitions"])),
            ("making the pool", f"{formats.flops_text(flops)} in {formats.count_text(jobs)} jobs"),
            ("time, summed over them", formats.seconds_text(seconds)),
        ],
    }


def _units_name(metrics: Mapping[str, Any]) -> str:
    """Plural name of the units of rows; empty where each row is its own."""
    made_by = metrics["units"]["kind"]
    return "" if made_by is None else NAMES[made_by][1]


def _contender_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    metric, decimals = metrics["metric"], metrics_decimals(metrics)
    found = contenders(metrics)
    winners = best(metric, {name: numbers["score"] for name, numbers in found.items()})
    return [
        {
            "title": contender_title(name),
            "compared": name in _COMPARED,
            "best": name in winners,
            "score": formats.number_text(numbers["score"], decimals),
            "log_loss": formats.number_text(numbers.get("log_loss"), 3),
            "calibration": formats.number_text(numbers.get("calibration_error"), 3),
            **_worst(numbers.get("worst_partition"), decimals, metrics["units"]["kind"]),
            "training": formats.flops_text(numbers["train_flops"]),
            "inference": formats.flops_text(numbers["inference_flops_per_row"]),
        }
        for name, numbers in found.items()
    ]


def _worst(worst: Mapping[str, Any] | None, decimals: int, made_by: str | None) -> dict[str, str]:
    if worst is None:
        return {"worst": formats.NONE, "worst_where": ""}
    rows = f"{formats.count_text(worst['rows'])} rows"
    if made_by is not None:
        rows += f" of {units_text(worst['units'], made_by)}"
    return {
        "worst": formats.number_text(worst["score"], decimals),
        "worst_where": f"partition {worst['partition']}, {rows}",
    }


def _equality(metrics: Mapping[str, Any]) -> str:
    """How equal "equal training FLOPs" and FLOPs per predicted row are."""
    pool, generalist = (metrics[name] for name in _COMPARED)
    parts = []
    for what, key in (("training", "train_flops"), ("inference", "inference_flops_per_row")):
        if generalist[key]:
            ratio = pool[key] / generalist[key]
            parts.append(f"{ratio:.2f} times the generalist's {what} FLOPs")
    return f"The pool took {' and '.join(parts)}." if parts else ""


def _partition_row(part: PartitionReport, metrics: Mapping[str, Any]) -> dict[str, Any]:
    decimals = metrics_decimals(metrics)
    gain = None
    if part.pool_score is not None and part.generalist_score is not None:
        gain = part.pool_score - part.generalist_score
    tone = ""
    if part.rows["test"] < WORST_ROWS or part.test_units < WORST_UNITS:
        tone = "soft"
    elif gain:
        tone = "good" if (gain > 0) == (metrics["metric"] == "accuracy") else "bad"
    point = part.grid_point
    return {
        "name": str(part.partition),
        "colour": colour(part.partition),
        **{fold: formats.count_text(part.rows[fold]) for fold in ("train", "validation", "test")},
        "test_units": formats.count_text(part.test_units),
        "grid_point": "base" if point is None else _values(point),
        "server": part.server,
        "base_loss": formats.number_text(part.base_loss, 4),
        "specialist_loss": formats.number_text(part.specialist_loss, 4),
        "generalist": formats.number_text(part.generalist_score, decimals),
        "pool": formats.number_text(part.pool_score, decimals),
        "difference": formats.number_text(gain, decimals, sign=True),
        "tone": tone,
    }


def _values(point: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in point.items()) or "the only one"


def _candidate_row(candidate: Mapping[str, Any]) -> dict[str, Any]:
    gain = formats.number_text(candidate["gain"], 4, sign=True)
    error = formats.number_text(candidate["standard_error"], 4)
    return {
        "partitions": str(candidate["partitions"]),
        "loss": formats.number_text(candidate["loss"], 4),
        "gain": formats.NONE if candidate["partitions"] == 1 else f"{gain} ± {error}",
        "taken": candidate["taken"],
    }


def _map_caption(details: ReportDetails) -> str:
    rows = formats.count_text(len(details.map_points))
    method = {"pca": "principal components", "umap": "UMAP"}.get(
        details.map_method, details.map_method
    )
    repeated = len(details.partitions) > len(COLOURS)
    colours = " Colours repeat; the numbers do not." if repeated else ""
    return (
        f"{rows} rows in two dimensions of their embedding ({method}), coloured by partition, "
        f"whose number is at its middle. The map is a picture only: nothing is computed "
        f"from it.{colours}"
    )


def _lineage(details: ReportDetails) -> list[tuple[str, str]]:
    versions = ", ".join(f"{name} {version}" for name, version in details.versions.items())
    rows = [("Generation", str(details.generation)), *details.lineage.items()]
    return [*rows, ("Versions", versions)] if versions else rows
