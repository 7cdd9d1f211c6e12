"""Plots that compare choices, as SVG files; on the page they take its colours."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from shoal.explore.answers.anova import Share
from shoal.formats.text import share_text
from shoal.report.plots import COLOURS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shoal.explore.answers.tables import Answers, Row


_WIDTH = 900.0
_MOST_PAIRS = 8
_STYLE = """<style>
svg.plot { display: block; width: 100%; max-width: 56rem; font: 13px system-ui, sans-serif; }
svg.plot text { fill: var(--ink, #1d2126); } svg.plot text.soft { fill: var(--soft, #5c6570); }
svg.plot .card { fill: var(--card, #ffffff); } svg.plot .bar { fill: var(--mark, #2f6690); }
svg.plot .line { stroke: var(--line, #dfe3e6); } svg.plot .chance { stroke: var(--bad, #b3382c); }
svg.plot .interval { stroke: var(--mark, #2f6690); stroke-opacity: .45; }
svg.plot .score { fill: var(--mark, #2f6690); } svg.plot .chosen { fill: var(--good, #1a7f4b); }
</style>"""


def plots(answers: Answers) -> dict[str, str]:
    """Every plot by name; those of which there is nothing to show are left out.

    Args:
        answers: The comparison.
    """
    found = {}
    if len(answers.variants) > 1:
        validation = answers.metric == "accuracy"  # of regression it is another score
        found["scores"] = scores_svg(answers.variants, validation)
    for name, each in (("variation", answers.scores), ("hyperparameters", answers.losses)):
        if each.shares:
            found[name] = shares_svg(_shown(each.shares), each.rest)
    if answers.winners:
        order = [row["variant"] for row in answers.variants]
        found["winners"] = winners_svg(answers.winners, order, answers.points)
    return found


def _shown(shares: Sequence[Share]) -> list[Share]:
    """The choices, then the pairs that explain more than chance would, the largest first."""
    ordered = sorted(shares, key=lambda each: -each.share)
    single = [each for each in ordered if len(each.names) == 1]
    pairs = [each for each in ordered if len(each.names) > 1]
    shown = [each for each in pairs if each.share > each.chance][:_MOST_PAIRS]
    others = [each for each in pairs if each not in shown]
    if others:
        parts = (sum(each.share for each in others), sum(each.chance for each in others))
        shown.append(Share(("other pairs of choices",), *parts))
    return [*single, *shown]


def shares_svg(shares: Sequence[Share], rest: float) -> str:
    """A bar for each part of a decomposition, with a mark where chance alone would put it.

    Args:
        shares: The parts, in the order in which they are shown.
        rest: What they leave.
    """
    step, top, whole = 44.0, 16.0, _WIDTH - 90
    rows: list[tuple[str, float, float | None]] = [
        (each.term, each.share, each.chance) for each in shares
    ]
    rows.append(("the rest: what no line above explains", rest, None))
    lines = []
    for number, (term, share, chance) in enumerate(rows):
        y = top + number * step
        length = max(0.0, min(1.0, share)) * whole
        lines += [
            f'<text x="4" y="{y:.0f}">{escape(term)}</text>',
            f'<rect class="bar" x="4" y="{y + 7:.0f}" width="{length:.1f}" height="13" rx="2"/>',
            f'<text class="soft" x="{length + 12:.1f}" y="{y + 18:.0f}">{share_text(share)}</text>',
        ]
        if chance is not None:
            x = 4 + min(1.0, chance) * whole
            lines.append(_line("chance", x, y + 4, x, y + 23, width=2))
    return _plot(lines, top + len(rows) * step, "What explains the variation")


def scores_svg(rows: Sequence[Row], validation: bool) -> str:
    """Every variant's test score with its interval, from the best on validation to the worst.

    Args:
        rows: Rows of the variants' table, in that order.
        validation: Whether validation scores are of the same kind, and are shown too.
    """
    names = ("low", "high", "test", *(("validation",) if validation else ()))
    numbers = [float(row[name]) for row in rows for name in names if row[name] is not None]
    low, high = min(numbers), max(numbers)
    span = (high - low) or 1.0
    height, left, step = 300.0, 64.0, (_WIDTH - 84) / len(rows)
    radius = min(4.5, max(1.5, step / 3))

    def place(score: float) -> float:
        return 20 + (high - score) / span * (height - 50)

    lines = []
    for number in range(5):
        score = low + span * number / 4
        y = place(score)
        lines.append(_line("line", left, y, _WIDTH - 10, y))
        lines.append(f'<text class="soft" x="8" y="{y + 4:.1f}">{score:.4g}</text>')
    for number, row in enumerate(rows):
        x, thick = left + (number + 0.5) * step, min(5.0, max(1.0, step / 3))
        lines.append(f"<g><title>{escape(str(row['variant']))}</title>")
        if row["low"] is not None:
            lines.append(_line("interval", x, place(row["high"]), x, place(row["low"]), thick))
        lines += [
            f'<circle class="score" cx="{x:.1f}" cy="{place(score):.1f}" r="{radius:.1f}"/>'
            for score in (row["test"],)
            if score is not None
        ]
        if validation:
            y = place(row["validation"]) - radius
            side = 2 * radius
            lines.append(_box("chosen", x - radius, y, side, side))
        lines.append("</g>")
    said = "variants, the best on validation first: ● test score with its 95 % interval"
    said += ", ■ validation score" if validation else ""
    lines.append(f'<text class="soft" x="{left}" y="{height - 6:.0f}">{said}</text>')
    return _plot(lines, height, "Scores of the variants")


def winners_svg(rows: Sequence[Row], order: Sequence[str], points: Sequence[str]) -> str:
    """The winning grid point of each partition (column) of each variant (row), by colour.

    Faint where the margin's interval holds zero.

    Args:
        rows: Rows of the winners' table.
        order: The variants, in the order in which they are shown.
        points: The grid points, in the order of the legend.
    """
    columns = 1 + max((row["partition"] for row in rows), default=0)
    named = len(order) <= 40
    left = 110.0 if named and order != [""] else 10.0
    wide = min(48.0, (_WIDTH - left - 10) / columns)
    high = min(24.0, max(4.0, 700 / len(order)))
    top = 24.0 * len(points) + 34
    lines = [
        part
        for number, point in enumerate(points)
        for part in (
            _box("", 8, 24 * number + 8, 14, 14, _colour(number)),
            f'<text x="30" y="{24 * number + 20}">{escape(point)}</text>',
        )
    ]
    number_every = max(1, round(24 / wide))
    lines += [
        f'<text class="soft" x="{left + (n + 0.5) * wide:.1f}" y="{top - 6:.0f}"'
        f' text-anchor="middle">{n}</text>'
        for n in range(0, columns, number_every)
    ]
    place = {name: number for number, name in enumerate(order)}
    if named:
        lines += [
            f'<text class="soft" x="4" y="{top + (n + 0.5) * high + 4:.1f}">{escape(name)}</text>'
            for name, n in place.items()
        ]
    known = {point: number for number, point in enumerate(points)}
    for row in rows:
        if row["loss"] is not None:
            x, y = left + row["partition"] * wide, top + place[row["variant"]] * high
            faint = row["low"] is None or row["low"] <= 0
            lines.append(_box("", x, y, wide - 1, high - 1, _colour(known[row["point"]]), faint))
    return _plot(lines, top + high * len(order) + 10, "Winning grid points by partition")


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _line(kind: str, x1: float, y1: float, x2: float, y2: float, width: float = 1.0) -> str:
    return (
        f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        f' stroke-width="{width:.1f}"/>'
    )


def _box(
    kind: str, x: float, y: float, wide: float, high: float, fill: str = "", faint: bool = False
) -> str:
    colour = f' fill="{fill}"' if fill else f' class="{kind}"'
    opacity = ' fill-opacity=".4"' if faint else ""
    return (
        f'<rect{colour}{opacity} x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}"/>'
    )


def _plot(lines: Sequence[str], height: float, title: str) -> str:
    return "\n".join(
        [
            f'<svg class="plot" xmlns="http://www.w3.org/2000/svg" role="img"'
            f' viewBox="0 0 {_WIDTH:.0f} {height:.0f}" aria-label="{escape(title)}">',
            _STYLE,
            f'<rect class="card" width="{_WIDTH:.0f}" height="{height:.0f}"/>',
            *lines,
            "</svg>",
        ]
    )
