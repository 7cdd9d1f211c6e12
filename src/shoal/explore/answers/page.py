"""The page that says what each choice did; its style is that of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.evaluate.verdict import METRIC_NAMES
from shoal.explore.answers.tables import is_clear
from shoal.explore.answers.template import TEMPLATE
from shoal.formats.text import NONE, count_text, share_text
from shoal.report.page import render

if TYPE_CHECKING:
    from collections.abc import Mapping

    from markupsafe import Markup

    from shoal.explore.answers.anova import Explained
    from shoal.explore.answers.compare import Answers

    Row = Mapping[str, Any]

_MOST_POINTS = 8
"""Grid points whose losses are columns of the winners' table."""

_MOST_MOVES = 200
"""Moved winners that the page lists; the table has all."""


def answers_page(answers: Answers, plots: Mapping[str, str]) -> str:
    """One self-contained HTML page: no scripts, no outside resources, all text escaped.

    Args:
        answers: What was found.
        plots: SVG by name, as :func:`shoal.explore.answers.plots.plots` gives them.

    Returns:
        The page; the same input gives the same text.
    """
    best = answers.variants[0]
    content = {
        "experiment": answers.experiment,
        "headline": _headline(answers),
        "facts": _facts(answers),
        "metric": METRIC_NAMES[answers.metric],
        "regression": answers.metric == "rmse",
        "names": answers.varying,
        "variants": [_variant_row(row, answers) for row in answers.variants],
        "replicate_names": [name for name in answers.varying if name != "seed"],
        "replicates": [_replicate_row(row, answers) for row in answers.replicates]
        if any(row["n"] > 1 for row in answers.replicates)
        else [],
        "plots": {name: _svg(text) for name, text in plots.items()},
        "scores": _decomposition(answers.scores, "scores"),
        "losses": _decomposition(answers.losses, "losses"),
        "several": len(answers.variants) > 1,
        "wins": [_wins_row(row) for row in answers.wins],
        "points": _points(answers),
        "best": best["variant"],
        "winners": [
            _winner_row(row, answers)
            for row in answers.winners
            if row["variant"] == best["variant"]
        ],
        **_moves(answers),
    }
    return render(f"{answers.experiment}, what the choices did", TEMPLATE, content)


def _svg(text: str) -> Markup:
    """SVG that this package made from numbers, and from text it escaped."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704 - see above


def _headline(answers: Answers) -> str:
    best = answers.variants[0]
    score = f"{METRIC_NAMES[answers.metric]} {_score_text(best)}"
    if len(answers.variants) == 1:
        partitions = _many(best["partitions"], "partition")
        return f"{_many(len(answers.points), 'grid point')} in {partitions}. Test {score}"
    chosen = ", ".join(f"{n} {best[n]}" for n in answers.varying if best[n] is not None)
    return f"Best on validation: {chosen}. Its test {score}"


def _score_text(row: Row) -> str:
    return f"{_number(row['test'])} (95 % interval {_number(row['low'])} to {_number(row['high'])})"


def _facts(answers: Answers) -> list[tuple[str, str]]:
    counts = sorted({row["partitions"] for row in answers.variants})
    partitions = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    return [
        ("variants", count_text(len(answers.variants))),
        ("partitions", partitions),
        ("grid points", count_text(len(answers.points))),
        ("seeds", count_text(max(row["n"] for row in answers.replicates))),
    ]


def _variant_row(row: Row, answers: Answers) -> dict[str, Any]:
    variant = row["variant"]
    return {
        "name": variant or answers.experiment,
        "page": f"../variants/{variant}/report.html" if variant else "../report.html",
        "values": [_text(row[name]) for name in answers.varying],
        "partitions": count_text(row["partitions"]),
        "validation": _number(row["validation"]),
        "test": _number(row["test"]),
        "interval": _interval(row),
        "generalist": _number(row["generalist"]),
        "verdict": row["verdict"],
    }


def _replicate_row(row: Row, answers: Answers) -> dict[str, Any]:
    names = [name for name in answers.varying if name != "seed"]
    kinds = ("validation", "test", "generalist")
    spreads = [(row[f"{kind}_mean"], row[f"{kind}_deviation"]) for kind in kinds]
    return {
        "values": [_text(row[name]) for name in names],
        "n": row["n"],
        "spreads": [f"{_number(mean)} ± {_number(deviation, 2)}" for mean, deviation in spreads],
    }


def _decomposition(found: Explained, what: str) -> str:
    """The sentence below a decomposition's plot, or instead of it."""
    if found.reason:
        return f"No decomposition of {count_text(found.scores)} {what}: {found.reason}."
    if found.complete:
        pairs = any("×" in each.term for each in found.shares)
        left = "three or more choices together" if pairs else "choices together"
        return (
            f"{count_text(found.scores)} {what} of a complete grid: the parts are exact and add up "
            f"to 100 %. The rest is what {left} do, and chance."
        )
    return (
        f"{count_text(found.scores)} {what} of a grid that is not complete: each part is what a "
        f"choice explains beyond all others, so the parts need not add up to 100 %. The rest is "
        f"what choices do together, and chance."
    )


def _wins_row(row: Row) -> dict[str, str]:
    return {
        "point": row["point"],
        "won": f"{count_text(row['won'])} of {count_text(row['of'])}",
        "share": share_text(row["won"] / row["of"]),
        "clearly": count_text(row["clearly"]),
    }


def _points(answers: Answers) -> list[str]:
    """Grid points that are columns of the winners' table."""
    return list(answers.points) if len(answers.points) <= _MOST_POINTS else []


def _winner_row(row: Row, answers: Answers) -> dict[str, Any]:
    place = (row["variant"], row["partition"])
    losses = [(answers.loss_of.get((*place, point)), point) for point in _points(answers)]
    return {
        "name": str(row["partition"]),
        "winner": row["point"],
        "rows": count_text(row["rows"]),
        "losses": [(_number(loss), point == row["point"]) for loss, point in losses],
        "next": row["next"] or NONE,
        "margin": _number(row["margin"]),
        "interval": _interval(row),
        "tone": "good" if is_clear(row) else "soft",
    }


def _interval(row: Row) -> str:
    known = row["low"] is not None
    return f"{_number(row['low'])} to {_number(row['high'])}" if known else NONE


def _moves(answers: Answers) -> dict[str, Any]:
    """How the winners moved since other rows were there."""
    counts = dict.fromkeys(("same rows", "kept", "moved", "new", "gone"), 0)
    for row in answers.moves:
        counts[row["what"]] += 1
    listed = [row for row in answers.moves if row["what"] not in ("same rows", "kept")]
    return {
        "compared": bool(answers.moves),
        "counts": counts,
        "listed": [
            {
                "variant": row["variant"],
                "partition": str(row["partition"]),
                "before": row["before"] or "no specialist",
                "after": row["after"] or "no specialist",
            }
            for row in listed[:_MOST_MOVES]
        ],
        "unlisted": len(listed) - len(listed[:_MOST_MOVES]),
    }


def _number(number: float | None, digits: int = 4) -> str:
    return NONE if number is None else f"{number:#.{digits}g}"


def _text(value: str | None) -> str:
    return NONE if value is None else value


def _many(count: int, noun: str) -> str:
    return f"{count_text(count)} {noun}" + ("" if count == 1 else "s")
