"""The page over time: of each release the score of the pool before it on rows that arrived."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from shoal.formats.scores import SCORES
from shoal.formats.text import NONE, flops_text, number_text, score_decimals
from shoal.report.curves import Scale, text_svg
from shoal.report.page import render, svg
from shoal.report.plots import COLOURS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from shoal.formats.documents.prequential import OverTime, PrequentialScores
    from shoal.formats.kinds import Metric

_WIDTH, _LEFT, _RIGHT, _TOP = 900.0, 96.0, 30.0, 14.0
_SCORES, _GAP, _FLOPS, _BELOW = 230.0, 26.0, 120.0, 86.0
_MOST_NUMBERS = 30
_POOL, _GENERALIST = COLOURS[:2]


@dataclass(frozen=True)
class Line:
    """A release on the page.

    Attributes:
        number: Its place in the history, from 1.
        record: Its record.
        flops: FLOPs of this release and all before it.
        begins: Whether a generation begins with it.
    """

    number: int
    record: Mapping[str, Any]
    flops: float
    begins: bool

    @property
    def told(self) -> OverTime | None:
        """All that is known of it besides; None of a release of an earlier Shoal."""
        found: OverTime | None = self.record.get("over_time")
        return found

    @property
    def scores(self) -> PrequentialScores | None:
        """Scores of the rows that arrived with it; None where they are not scored."""
        arrivals = self.told and self.told.get("arrivals")
        return arrivals["scores"] if arrivals else None


def over_time_page(releases: Sequence[Mapping[str, Any]]) -> str:
    """Make one self-contained HTML page: no scripts, no outside resources, all text escaped.

    Args:
        releases: Records of all releases, the oldest first.

    Returns:
        The page; the same input gives the same text.
    """
    lines, last = _lines(releases), releases[-1]
    scored = [each for each in lines if each.scores]
    metric = scored[-1].scores["metric"] if scored and scored[-1].scores else None
    shown = [each for each in scored if each.scores and each.scores["metric"] == metric]
    decimals = _decimals(metric, shown) if metric else 3
    return render(
        "archive/over_time.html.jinja",
        f"{last['settings']['name']}, over time",
        experiment=last["settings"]["name"],
        generation=last["layout"]["generation"].removeprefix("g"),
        headline=_headline(lines, shown, metric, decimals),
        lines=lines,
        made_text=_made_text,
        decimals=decimals,
        metric=SCORES[metric].title if metric else "",
        plot=svg(_plot(lines, shown, metric, decimals)),
    )


def _lines(releases: Sequence[Mapping[str, Any]]) -> list[Line]:
    """The releases with their FLOPs summed up."""
    spent = [
        each["over_time"]["made"]["flops"] if "over_time" in each else 0.0 for each in releases
    ]
    generations = [each["layout"]["generation"] for each in releases]
    begins = [False, *(one != other for one, other in itertools.pairwise(generations))]
    numbered = zip(releases, itertools.accumulate(spent), begins, strict=True)
    return [Line(number, *each) for number, each in enumerate(numbered, 1)]


def _decimals(metric: Metric, lines: Sequence[Line]) -> int:
    known = [each.scores["score"] for each in lines if each.scores]
    return score_decimals(metric, [number for number in known if number is not None])


def _headline(
    lines: Sequence[Line], shown: Sequence[Line], metric: Metric | None, decimals: int
) -> str:
    """The last score, and what all releases together took."""
    taken = f"{len(lines)} releases took {flops_text(lines[-1].flops)}"
    scores = shown[-1].scores if shown else None
    if scores is None or metric is None:
        return f"No rows that arrived were scored yet; {taken}"
    name, own = SCORES[metric].title, number_text(scores["score"], decimals)
    other = number_text(scores["generalist"], decimals)
    than = f", the generalist's {other}" if scores["generalist"] is not None else ""
    rows = f"{scores['rows']:,} {'row' if scores['rows'] == 1 else 'rows'}"
    return f"On the last {rows} that arrived, {name} of the pool before was {own}{than}; {taken}"


def _plot(
    lines: Sequence[Line], shown: Sequence[Line], metric: Metric | None, decimals: int
) -> str:
    """Scores by release above, FLOPs summed up below."""
    step = (_WIDTH - _LEFT - _RIGHT) / len(lines)

    def across(number: float) -> float:
        return _LEFT + (number - 0.5) * step

    bottom, middle = _TOP + _SCORES + _GAP + _FLOPS, _TOP + _SCORES
    parts = [*_marks(lines, across, bottom)]
    scores = [own for each in shown if each.scores for own in _numbers(each.scores)]
    if metric and scores:
        up = Scale.linear(scores, middle, _TOP)
        parts += _frame(_TOP, _SCORES, up, lambda at: number_text(at, up.decimals(decimals)))
        for name, colour in (("generalist", _GENERALIST), ("score", _POOL)):
            parts += _way(shown, name, colour, across, up)
        parts.append(text_svg(_LEFT + 8, _TOP + 16, SCORES[metric].title, "start"))
    spent = Scale.linear([0.0, max(each.flops for each in lines) or 1.0], bottom, middle + _GAP)
    parts += _frame(middle + _GAP, _FLOPS, spent, lambda at: flops_text(abs(at)))
    way = " ".join(_steps(lines, across, spent))
    parts.append(f'<polyline class="way" stroke="{COLOURS[2]}" points="{way}"/>')
    parts += [
        f'<circle fill="{COLOURS[2]}" stroke="{COLOURS[2]}" cx="{across(each.number):.1f}"'
        f' cy="{spent.place(each.flops):.1f}" r="3"><title>release {each.number}: '
        f"{flops_text(each.flops)}</title></circle>"
        for each in lines
    ]
    parts.append(text_svg(_LEFT + 8, middle + _GAP + 16, "training, summed up", "start"))
    height = bottom + _BELOW
    parts += _legend(height - 22, has_scores=bool(scores))
    return "\n".join(
        [
            f'<svg class="curves" viewBox="0 0 {_WIDTH:.0f} {height:.0f}" role="img"'
            f' aria-label="scores and FLOPs by release">',
            *parts,
            "</svg>",
        ]
    )


def _numbers(scores: PrequentialScores) -> list[float]:
    """All that is drawn of a release's scores."""
    ends = scores["interval"]
    found = [scores["score"], scores["generalist"], ends["low"], ends["high"]]
    found += [own for part in scores["running"] for own in (part["score"], part["generalist"])]
    return [number for number in found if number is not None]


def _marks(lines: Sequence[Line], across: Callable[[float], float], bottom: float) -> Iterator[str]:
    """Numbers of the releases, and a line where a generation begins."""
    every = math.ceil(len(lines) / _MOST_NUMBERS)
    for each in lines:
        x = across(each.number)
        if each.begins:
            edge = across(each.number - 0.5)
            yield (
                f'<line class="level" x1="{edge:.1f}" x2="{edge:.1f}" y1="{_TOP}" y2="{bottom}"/>'
            )
        if (each.number - 1) % every == 0:
            yield (
                f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 5}"/>'
            )
            yield text_svg(x, bottom + 20, str(each.number), "middle")
    yield text_svg((_LEFT + _WIDTH - _RIGHT) / 2, bottom + 40, "release", "middle")


def _frame(top: float, height: float, up: Scale, written: Callable[[float], str]) -> Iterator[str]:
    """A panel with its scale."""
    wide = _WIDTH - _LEFT - _RIGHT
    for at in up.ticks:
        y = up.place(at)
        yield (
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        yield text_svg(_LEFT - 8, y + 4, written(at), "end")
    yield f'<rect class="frame" x="{_LEFT}" y="{top}" width="{wide}" height="{height}"/>'


def _way(
    lines: Sequence[Line], name: str, colour: str, across: Callable[[float], float], up: Scale
) -> Iterator[str]:
    """Running scores as a line; the pool's score of each release as a dot with its interval."""
    for each in lines:
        scores = each.scores
        assert scores is not None  # noqa: S101 - these are scored
        running = [part[name] for part in scores["running"]]  # type: ignore[literal-required]
        share = 1 / max(1, len(running))
        way = " ".join(
            f"{across(each.number - 0.5 + (n + 0.5) * share):.1f},{up.place(own):.1f}"
            for n, own in enumerate(running)
            if own is not None
        )
        if len(running) > 1:
            yield f'<polyline class="way" stroke="{colour}" points="{way}"/>'
        own = scores[name]  # type: ignore[literal-required]
        if own is None:
            continue
        x, ends = across(each.number), scores["interval"]
        if name == "score" and ends["low"] is not None and ends["high"] is not None:
            low, high = up.place(ends["low"]), up.place(ends["high"])
            yield (
                f'<line class="range" stroke="{colour}" x1="{x:.1f}" x2="{x:.1f}"'
                f' y1="{low:.1f}" y2="{high:.1f}"/>'
            )
        kind = f' fill="{colour}"' if name == "score" else ' class="hollow"'
        title = escape(f"release {each.number}: {own:.4g}")
        yield (
            f'<circle{kind} stroke="{colour}" cx="{x:.1f}" cy="{up.place(own):.1f}" r="5">'
            f"<title>{title}</title></circle>"
        )


def _steps(lines: Sequence[Line], across: Callable[[float], float], up: Scale) -> Iterator[str]:
    """FLOPs before and after each release."""
    before = 0.0
    for each in lines:
        x = across(each.number)
        yield f"{x:.1f},{up.place(before):.1f}"
        yield f"{x:.1f},{up.place(each.flops):.1f}"
        before = each.flops
    yield f"{_WIDTH - _RIGHT:.1f},{up.place(before):.1f}"


def _legend(y: float, *, has_scores: bool) -> Iterator[str]:
    if not has_scores:
        return
    entries = (("pool of the release before", _POOL, ""), ("its generalist", _GENERALIST, "hollow"))
    for number, (title, colour, kind) in enumerate(entries):
        x = _LEFT + 8 + number * 240
        look = f'class="{kind}"' if kind else f'fill="{colour}"'
        yield f'<circle {look} stroke="{colour}" cx="{x:.1f}" cy="{y}" r="5"/>'
        yield text_svg(x + 14, y + 4, title, "start")


def _made_text(told: OverTime | None) -> str:
    """What a run made of the specialists, in words."""
    if told is None:
        return NONE
    made = told["made"]
    counts = {name: made[name] for name in ("trained", "continued", "waiting")}
    said = [f"{count:,} {name}" for name, count in counts.items() if count]
    return f"{', '.join(said) or 'none'} of {made['specialists']:,}"
