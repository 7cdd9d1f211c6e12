"""Tables for ``shoal verdict``: contenders and drift."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.formats.scores import SCORES
from shoal.formats.text import NONE, count_text, flops_text, number_text, share_text
from shoal.report.words import (
    advice_text,
    best,
    contender_title,
    contenders,
    critical_line,
    doubt_lines,
    gate_line,
    held_out,
    incomplete_line,
    is_outdone,
    metrics_decimals,
    search_line,
)

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType
    from rich.table import Table

    from shoal.formats.documents.judgement import Drift, DriftReport, Metrics, Scores

NO_BETTER = "no better than constant"
_COLOURS = {"helps": "green", "at chance": "green", "hurts": "red", "leak": "red", NO_BETTER: "red"}
_ACTION_COLOURS = {"keep": "green", "retrain": "yellow", "grow": "yellow", "refit": "red"}
_DRIFT_HEADS = ("rows before", "arrived", "gone", "told apart", "p", "not covered", "loss")


def verdict_table(metrics: Metrics, pool: str | Path, digest: str) -> RenderableType:
    """Show contenders, the verdict's sentence, and the pool's place and digest.

    Where no contender beats the constant answer, or a usual model of tables beats the pool, the
    sentence comes first.

    Args:
        metrics: Content of ``metrics.json``.
        pool: The pool's folder.
        digest: Its digest.
    """
    from rich.console import Group
    from rich.text import Text

    outdone = is_outdone(metrics)
    colour = "red" if outdone else _COLOURS.get(metrics["verdict"], "yellow")
    first = [_contender_table(metrics), Text(metrics["sentence"], style=f"bold {colour}")]
    if outdone or metrics["verdict"] == NO_BETTER:
        first.reverse()
    return Group(
        *first,
        Text(gate_line(metrics["gate"])),
        *([Text(search_line(metrics["search"]))] if "search" in metrics else []),
        *(Text(incomplete_line(lack), style="yellow") for lack in metrics.get("incomplete", [])),
        *(Text(line, style="yellow") for line in doubt_lines(metrics)),
        Text(critical_line(metrics)),
        Text(f"Test rows: {held_out(metrics)}. Partitions: {metrics['partitions']}."),
        # Begins on a line of its own and folds: a console would crop what is too long.
        Text(f"The pool lies in {pool}", overflow="fold"),
        Text(f"Its digest is {digest}", overflow="fold"),
    )


def _contender_table(metrics: Metrics) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    metric, decimals = metrics["metric"], metrics_decimals(metrics)
    found = contenders(metrics)
    winners = best(metric, {name: numbers["score"] for name, numbers in found.items()})
    table = Table()
    table.add_column("on the test fold")
    for head in (SCORES[metric].title, "worst partition", "training", "inference per row"):
        table.add_column(head, justify="right")
    for name, numbers in found.items():
        worst = numbers.get("worst_partition")
        table.add_row(
            Text(contender_title(name)),
            number_text(numbers["score"], decimals),
            NONE if worst is None else number_text(worst["score"], decimals),
            _training_text(numbers),
            flops_text(numbers["inference_flops_per_row"]),
            style="bold" if name in winners else None,
        )
    return table


def _training_text(scores: Scores) -> str:
    """FLOPs of a contender's training, and those that it might have taken at most."""
    spent = flops_text(scores["train_flops"])
    most = scores.get("train_flops_at_most")
    return spent if most is None else f"{spent} of {flops_text(most)}"


def drift_table(content: DriftReport) -> Table:
    """Show one line per partition and one for all rows, with the recommendation below."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    advice = content["recommendation"]
    caption = Text(advice_text(advice), style=f"bold {_ACTION_COLOURS[advice['action']]}")
    table = Table(box=SIMPLE_HEAD, caption=caption, caption_justify="left")
    table.add_column("partition", no_wrap=True)
    for head in _DRIFT_HEADS:
        table.add_column(head, justify="right", overflow="fold")
    for part in content["partitions"]:
        stale = part["partition"] in advice["partitions"]
        table.add_row(str(part["partition"]), *_drift_cells(part), style="bold" if stale else None)
    table.add_section()
    table.add_row("all rows", *_drift_cells(content["overall"]))
    return table


def _drift_cells(part: Drift) -> list[str]:
    shares = [share_text(share) for share in (part["beyond_before"], part["beyond_after"])]
    losses = [number_text(loss, 3) for loss in (part.get("loss_before"), part.get("loss_after"))]
    return [
        *(count_text(count) for count in (part["rows_before"], part["arrived"], part["gone"])),
        share_text(part["accuracy"]),
        NONE if part["p_value"] is None else f"{part['p_value']:.2g}",
        *(NONE if set(pair) == {NONE} else " → ".join(pair) for pair in (shares, losses)),
    ]
