"""What the numbers say about splitting, in one word, one sentence and one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from shoal.evaluate.constant import NO_BETTER
from shoal.evaluate.leaks import doubt_lines
from shoal.formats import text as formats
from shoal.formats.units import units_text
from shoal.pool.incomplete import incomplete_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rich.console import RenderableType

    from shoal.evaluate.bootstrap import Difference
    from shoal.formats.kinds import Metric

Verdict = Literal["helps", "hurts", "no difference", "undecided", "no better than constant"]

CONTENDERS = {
    "pool_top1": "Pool, top 1",
    "pool_top2": "Pool, top 2",
    "ungated": "Pool, ungated",
    "generalist": "Generalist",
    "random_partitions": "Random partitions",
    "constant": "Constant",
}
"""Names in metrics.json, in the order in which they are shown, and how people read them."""

METRIC_NAMES = {"accuracy": "accuracy", "rmse": "RMSE"}

_EQUAL = 0.02
_OPENINGS = {
    "helps": "Splitting helps on this data",
    "hurts": "Splitting hurts on this data",
    "no difference": "Splitting makes no significant difference on this data",
}


def verdict(
    metric: Metric,
    difference: Difference,
    pool: float,
    generalist: float,
    train_flops: tuple[float, float],
    units: Mapping[str, Any],
    no_better: str = "",
) -> tuple[Verdict, str]:
    """Whether splitting helps, and a sentence that says so with its numbers.

    Args:
        metric: ``accuracy`` (higher is better) or ``rmse`` (lower is better).
        difference: Score of the pool minus score of the generalist, and the ends of its 95 %
            interval, as :func:`shoal.evaluate.bootstrap.paired_bootstrap` gives them.
        pool: Score of the pool.
        generalist: Score of the generalist.
        train_flops: What training each cost; the sentence says so where they differ by more than
            two in a hundred, as when the data changed since the generation's start.
        units: How many units the test rows are of (``test``), how many an interval takes
            (``least``), and what they are (``kind``, None where each row is its own).
        no_better: What :func:`shoal.evaluate.constant.no_better_text` says, where no contender
            beats the constant answer.

    Returns:
        ``no better than constant`` where that is so; ``undecided`` where there are too few units
        for an interval; ``helps`` or ``hurts`` where the interval leaves out zero, else
        ``no difference``; and the sentence.

    Raises:
        ValueError: The interval's ends are not in order, or not numbers.
    """
    _, low, high = difference
    if low is not None and high is not None and not low <= high:
        raise ValueError(f"not an interval: {low} to {high}")
    compared = _compared(metric, difference, pool, generalist, train_flops, units)
    if no_better:
        return NO_BETTER, f"{no_better} {compared[0].upper()}{compared[1:]}"
    if low is None:
        few = units_text(units["test"], units["kind"])
        return "undecided", (
            f"Undecided, since the test fold holds {few} and an interval takes {units['least']}: "
            f"{compared}"
        )
    word: Verdict = "no difference"
    if difference.sign:
        word = "helps" if (difference.sign > 0) == (metric == "accuracy") else "hurts"
    return word, f"{_OPENINGS[word]}: {compared}"


def _compared(
    metric: Metric,
    difference: Difference,
    pool: float,
    generalist: float,
    train_flops: tuple[float, float],
    units: Mapping[str, Any],
) -> str:
    ends = [end for end in (difference.low, difference.high) if end is not None]
    decimals = formats.score_decimals(metric, [pool, generalist], ends)
    scores = [formats.number_text(score, decimals) for score in (pool, generalist)]
    change, *around = (
        formats.number_text(n, decimals, sign=True) for n in (difference.value, *ends)
    )
    interval = f"95 % interval {' to '.join(around)}" if around else "no interval"
    over = f" over {units_text(units['test'], units['kind'])}" if units["kind"] else ""
    direction = "" if metric == "accuracy" else "; lower is better"
    return (
        f"{METRIC_NAMES[metric]} {scores[0]} for the pool against {scores[1]} "
        f"for the generalist at {_compute(*train_flops)} "
        f"(difference {change}, {interval}{over}{direction})."
    )


def _compute(pool: float, generalist: float) -> str:
    if abs(generalist - pool) <= _EQUAL * pool:
        return "equal training FLOPs"
    return f"{generalist / pool:.2f} times the pool's training FLOPs"


def gate_line(gate: Mapping[str, Any]) -> str:
    """How many specialists serve, in a sentence.

    Args:
        gate: ``specialists``, and how many of them are ``serving``; on how many ``units`` they were
            compared, how many that takes (``least_units``), and what these are (``kind``).
    """
    serving, specialists, kind = gate["serving"], gate["specialists"], gate.get("kind")
    if not specialists:
        return "Gate: no partition has a specialist."
    where = f"{units_text(gate['units'], kind)} of validation" if kind else "validation rows"
    if serving == specialists:
        return f"Gate: all {specialists} specialists beat the generalist on {where}."
    aside = "so the pool steps aside: it is the generalist."
    if gate.get("units", 0) < gate.get("least_units", 0):
        few = units_text(gate["units"], kind)
        return (
            f"Gate: {few} of validation are too few to compare specialists with the generalist, "
            f"which takes {gate['least_units']}, {aside}"
        )
    if not serving:
        return f"Gate: none of {specialists} specialists beats the generalist on {where}, {aside}"
    return (
        f"Gate: {serving} of {specialists} specialists beat the generalist on {where}; it "
        f"answers for the others, and its training is counted as the pool's."
    )


def contenders(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The contenders in ``metrics``: the known ones in their order, then any other with a score."""
    others = [name for name in metrics if name not in CONTENDERS]
    return {
        name: metrics[name]
        for name in [*CONTENDERS, *others]
        if isinstance(metrics.get(name), dict) and "score" in metrics[name]
    }


def contender_title(name: str) -> str:
    """How people read a contender's name."""
    return CONTENDERS.get(name, name.replace("_", " ").capitalize())


def best(metric: Metric, scores: Mapping[str, float]) -> set[str]:
    """Names that share the best score."""
    sign = 1 if metric == "accuracy" else -1
    top = max(sign * score for score in scores.values())
    return {name for name, score in scores.items() if sign * score == top}


def metrics_decimals(metrics: Mapping[str, Any]) -> int:
    """Decimals for every score of an experiment, so that its columns line up."""
    difference = metrics["difference"]
    pair = [metrics[name]["score"] for name in ("pool_top1", "generalist")]
    ends = [end for name in ("low", "high") if (end := difference[name]) is not None]
    return formats.score_decimals(metrics["metric"], pair, ends)


def held_out(metrics: Mapping[str, Any], noun: str = "") -> str:
    """Test rows, and of how many units where they belong together: ``412 of 42 groups``.

    Args:
        metrics: Content of ``metrics.json``.
        noun: What follows the number of rows.
    """
    units = metrics.get("units") or {"kind": None}  # earlier runs had none
    rows = formats.count_text(metrics["rows"]["test"]) + (noun and f" {noun}")
    return f"{rows} of {units_text(units['test'], units['kind'])}" if units["kind"] else rows


def verdict_table(metrics: Mapping[str, Any], pool: str | Path, digest: str) -> RenderableType:
    """The text of ``shoal verdict``: contenders, the sentence, the pool's place and digest.

    Where no contender beats the constant answer, the sentence comes first.

    Args:
        metrics: Content of ``metrics.json``.
        pool: The pool's folder.
        digest: Its digest.
    """
    from rich.console import Group
    from rich.text import Text

    colours = {"helps": "green", "at chance": "green", "hurts": "red", "leak": "red"}
    colour = (colours | {NO_BETTER: "red"}).get(metrics["verdict"], "yellow")
    summary = f"Test rows: {held_out(metrics)}. Partitions: {metrics['partitions']}."
    sentence = Text(metrics["sentence"], style=f"bold {colour}")
    first = [_rich_table(metrics), sentence]
    if metrics["verdict"] == NO_BETTER:
        first.reverse()
    return Group(
        *first,
        Text(gate_line(metrics["gate"])),
        *(Text(incomplete_line(lack), style="yellow") for lack in metrics.get("incomplete", [])),
        *(Text(line, style="yellow") for line in doubt_lines(metrics)),
        Text(summary),
        # Begins on a line of its own and folds: a console would crop what is too long.
        Text(f"The pool lies in {pool}", overflow="fold"),
        Text(f"Its digest is {digest}", overflow="fold"),
    )


def _rich_table(metrics: Mapping[str, Any]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    metric = metrics["metric"]
    found = contenders(metrics)
    winners = best(metric, {name: numbers["score"] for name, numbers in found.items()})
    table = Table()
    table.add_column("on the test fold")
    heads = [METRIC_NAMES[metric], "worst partition", "training", "inference per row"]
    for head in heads:
        table.add_column(head, justify="right")
    decimals = metrics_decimals(metrics)
    for name, numbers in found.items():
        worst = numbers.get("worst_partition")
        table.add_row(
            Text(contender_title(name)),
            formats.number_text(numbers["score"], decimals),
            formats.NONE if worst is None else formats.number_text(worst["score"], decimals),
            formats.flops_text(numbers["train_flops"]),
            formats.flops_text(numbers["inference_flops_per_row"]),
            style="bold" if name in winners else None,
        )
    return table
