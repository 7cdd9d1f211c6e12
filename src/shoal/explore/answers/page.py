"""The page that compares an experiment's choices."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from shoal.explore.answers.tables import is_clear
from shoal.formats.scores import SCORES
from shoal.formats.text import count_text, significant_text
from shoal.report.page import render, svg

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shoal.explore.answers.anova import Explained
    from shoal.explore.answers.tables import Answers, Row

_VALIDATION = {
    "classification": "accuracy",
    "regression": "R²",
    "own": "minus the mean of the model's own loss",
}
"""Validation score by task, see :meth:`shoal.training.tasks.Rules.mean_score`."""

_MOST_POINTS = 8
"""Grid points whose losses are columns of the winners' table."""

_MOST_MOVES = 200
"""Moved winners that the page lists; the table has all."""


def answers_page(answers: Answers, plots: Mapping[str, str], curves: str = "") -> str:
    """Make one self-contained HTML page: no scripts, no outside resources, all text escaped.

    Args:
        answers: The comparison.
        plots: SVG by name, as :func:`shoal.explore.answers.plots.plots` draws it.
        curves: That of :func:`shoal.explore.answers.curves.curves`.

    Returns:
        The page; the same input gives the same text.
    """
    counts = sorted({row["partitions"] for row in answers.variants})
    return render(
        "explore/answers/answers.html.jinja",
        f"{answers.experiment}, scores by choice",
        answers=answers,
        headline=_headline(answers),
        facts=[
            ("variants", count_text(len(answers.variants))),
            ("partitions", " to ".join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))),
            ("grid points", count_text(len(answers.points))),
            ("seeds", count_text(max(row["n"] for row in answers.replicates))),
        ],
        metric=SCORES[answers.metric].title,
        best=answers.variants[0]["variant"],
        validation=_VALIDATION[SCORES[answers.metric].task],
        difference_text=_difference_text,
        replicated=any(row["n"] > 1 for row in answers.replicates),
        plots={name: svg(text) for name, text in plots.items()},
        curves=svg(curves),
        scores=_decomposition(answers.scores, "scores"),
        losses=_decomposition(answers.losses, "losses"),
        is_clear=is_clear,
        counts=Counter(row["what"] for row in answers.moves),
        most_points=_MOST_POINTS,
        most_moves=_MOST_MOVES,
    )


def _headline(answers: Answers) -> str:
    best, metric = answers.variants[0], SCORES[answers.metric].title
    if len(answers.variants) == 1:
        test, low, high = (significant_text(best[name]) for name in ("test", "low", "high"))
        partitions = _many(best["partitions"], "partition")
        score = f"{metric} {test} (95 % interval {low} to {high})"
        return f"{_many(len(answers.points), 'grid point')} in {partitions}. Test {score}"
    if len(answers.questions) == 1:
        (one,) = answers.questions
        pool, generalist = (significant_text(one[f"{n}_score"]) for n in ("test", "generalist"))
        return (
            f"Chosen on validation: the pool with {one['pool_settings']}, test {metric} {pool}, "
            f"and the generalist with {one['generalist_settings']}, {generalist}: "
            f"{_difference_text(one)}"
        )
    named = [(_split_text(answers, row), _difference_text(row)) for row in answers.splits]
    return f"Pool minus generalist, test {metric}: " + "; ".join(
        f"{name}: {text}" if name else text for name, text in named
    )


def _difference_text(row: Row) -> str:
    value, low, high = (
        None if row[name] is None else f"{row[name]:+.4f}" for name in ("value", "low", "high")
    )
    interval = "no interval" if low is None else f"95 % interval {low} to {high}"
    return f"difference {value} ({interval})"


def _split_text(answers: Answers, row: Row) -> str:
    """What tells a way to split from the others; empty where there is one."""
    return ", ".join(row[name] for name in answers.split_names if row[name] is not None)


def _decomposition(found: Explained, what: str) -> str:
    """Sentence below a decomposition's plot, or instead of it."""
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


def _many(count: int, noun: str) -> str:
    return f"{count_text(count)} {noun}" + ("" if count == 1 else "s")
