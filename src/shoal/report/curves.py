"""Plot of scores against FLOPs, as inline SVG: of training, and of inference per row."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from shoal.formats.text import flops_text, number_text
from shoal.report.plots import COLOURS

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH, _LEFT, _GAP, _RIGHT = 900.0, 74.0, 60.0, 36.0
_TOP, _PANEL, _BELOW = 14.0, 250.0, 48.0
_LEGEND_LINE, _LEGEND_COLUMNS = 24.0, 3
_APART = 15.0
_LEAST_TICKS, _MOST_TICKS = 2, 5


class Point(NamedTuple):
    """A model's score, and its cost.

    Attributes:
        flops: FLOPs of training, and of inference per row; None where not known.
        score: The score.
        low: Lower end of the score's interval, None where there is none.
        high: Upper end.
        is_chosen: Whether it is drawn full, else hollow.
    """

    flops: tuple[float | None, float | None]
    score: float
    low: float | None = None
    high: float | None = None
    is_chosen: bool = True


@dataclass(frozen=True)
class Series:
    """Points of one kind. A line joins those with a higher score than all cheaper ones.

    Attributes:
        title: Its name in the legend.
        points: The points.
    """

    title: str
    points: Sequence[Point]


def curves_svg(
    series: Sequence[Series], score: str, decimals: int, level: tuple[str, float] | None = None
) -> str:
    """Draw scores against FLOPs of training (left) and of inference per row (right).

    Args:
        series: What is drawn, in the order of the legend.
        score: Name of the score.
        decimals: Decimals of scores.
        level: Name and score of what costs nothing, a line across both panels.

    Returns:
        One ``<svg>`` element; empty where no point has both FLOPs and a score.
    """
    points = [point for each in series for point in each.points]
    scores = [n for each in points for n in (each.score, each.low, each.high) if n is not None]
    if not any(flops for each in points for flops in each.flops):
        return ""
    up = Scale.linear(scores + ([level[1]] if level else []), _TOP + _PANEL, _TOP)
    lines = [
        part
        for at in up.ticks
        for y in (up.place(at),)
        for part in (
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>',
            text_svg(_LEFT - 8, y + 4, number_text(at, up.decimals(decimals)), "end"),
        )
    ]
    wide = (_WIDTH - _LEFT - _GAP - _RIGHT) / 2
    titles = (f"{score} by training FLOPs", f"{score} by inference FLOPs per row")
    for number, title in enumerate(titles):
        left = _LEFT + number * (wide + _GAP)
        lines += _panel(series, number, title, (left, left + wide), up)
    if level:
        y = up.place(level[1])
        lines.append(
            f'<line class="level" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
    lines += _legend(series, level)
    entries = len(series) + bool(level)
    height = _TOP + _PANEL + _BELOW + math.ceil(entries / _LEGEND_COLUMNS) * _LEGEND_LINE
    return "\n".join(
        [
            f'<svg class="curves" viewBox="0 0 {_WIDTH:.0f} {height:.0f}" role="img"'
            f' aria-label="{escape(score)} by FLOPs">',
            *lines,
            "</svg>",
        ]
    )


@dataclass(frozen=True)
class Scale:
    """Where numbers lie between two places, and numbers to write beside them.

    Attributes:
        low: Number, or its logarithm, at ``start``.
        high: The same at ``end``.
        start: One place.
        end: The other.
        ticks: Numbers to write.
        is_log: Whether places are by logarithm.
    """

    low: float
    high: float
    start: float
    end: float
    ticks: Sequence[float]
    is_log: bool = False

    @classmethod
    def linear(cls, numbers: Sequence[float], start: float, end: float) -> Scale:
        """A scale that holds the numbers, with a margin."""
        low, high = min(numbers), max(numbers)
        margin = 0.06 * (high - low or abs(high) or 1.0)
        low, high = low - margin, high + margin
        step = 10.0 ** math.floor(math.log10((high - low) / _LEAST_TICKS))
        step = max(k for k in (step, 2 * step, 5 * step) if (high - low) / k >= _LEAST_TICKS)
        first = math.ceil(low / step)
        return cls(
            low, high, start, end, [n * step for n in range(first, math.floor(high / step) + 1)]
        )

    @classmethod
    def log(cls, numbers: Sequence[float], start: float, end: float) -> Scale:
        """The same by logarithm."""
        low, high = math.log10(min(numbers)), math.log10(max(numbers))
        margin = max(0.12, 0.06 * (high - low))
        low, high = low - margin, high + margin
        powers = range(math.floor(low), math.ceil(high) + 1)
        for within in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)):
            ticks = [p + math.log10(w) for p in powers for w in within]
            ticks = [at for at in ticks if low <= at <= high]
            if len(ticks) >= _LEAST_TICKS:
                break
        ticks = ticks[:: math.ceil(len(ticks) / _MOST_TICKS)]
        return cls(low, high, start, end, [10.0**at for at in ticks], is_log=True)

    def place(self, number: float) -> float:
        """Place of a number."""
        at = math.log10(number) if self.is_log else number
        return self.start + (at - self.low) / (self.high - self.low) * (self.end - self.start)

    def decimals(self, least: int) -> int:
        """Decimals by which ticks differ: no more than those of scores, where these suffice."""
        step = self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 else 1.0
        return min(max(0, -math.floor(math.log10(step) + 1e-9)), least + 3)


def _panel(
    series: Sequence[Series], number: int, title: str, sides: tuple[float, float], up: Scale
) -> list[str]:
    bottom = _TOP + _PANEL
    lines = [
        f'<rect class="frame" x="{sides[0]:.1f}" y="{_TOP}" width="{sides[1] - sides[0]:.1f}"'
        f' height="{_PANEL}"/>',
        text_svg(sum(sides) / 2, bottom + 40, title, "middle"),
    ]
    known = [
        (place, point, flops)
        for place, each in enumerate(series)
        for point in each.points
        if (flops := point.flops[number])
    ]
    if not known:
        return lines
    across = Scale.log([flops for *_, flops in known], *sides)
    for at in across.ticks:
        x = across.place(at)
        lines.append(
            f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 5}"/>'
        )
        lines.append(text_svg(x, bottom + 20, flops_text(at), "middle"))
    places = _apart([across.place(flops) for *_, flops in known], *sides)
    for place, each in enumerate(series):
        own = [
            (x, up.place(point.score), point)
            for x, (of, point, _) in zip(places, known, strict=True)
            if of == place
        ]
        lines += _drawn(sorted(own, key=lambda one: one[0]), each.title, COLOURS[place], up)
    return lines


def _drawn(
    points: Sequence[tuple[float, float, Point]], title: str, colour: str, up: Scale
) -> list[str]:
    """A series in a panel."""
    lines = []
    best = list(itertools.accumulate((y for _, y, _ in points), min))  # pages count downwards
    ahead = [n for n, y in enumerate(best) if not n or y < best[n - 1]]
    if len(ahead) > 1:
        way = " ".join(f"{points[n][0]:.1f},{points[n][1]:.1f}" for n in ahead)
        lines.append(f'<polyline class="way" stroke="{colour}" points="{way}"/>')
    for x, y, point in points:
        if point.low is not None and point.high is not None:
            low, high = up.place(point.low), up.place(point.high)
            lines.append(
                f'<line class="range" stroke="{colour}" x1="{x:.1f}" x2="{x:.1f}"'
                f' y1="{low:.1f}" y2="{high:.1f}"/>'
            )
        fill = f' fill="{colour}"' if point.is_chosen else ' class="hollow"'
        lines.append(
            f'<circle{fill} stroke="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="5">'
            f"<title>{escape(title)}</title></circle>"
        )
    return lines


def _apart(places: Sequence[float], low: float, high: float) -> list[float]:
    """Places moved so far that none hides another, as little as that takes, in the same order.

    Of many points some hide each other: they stay where they are.
    """
    if len(places) * _APART > (high - low) / 2:
        return list(places)

    def begin(group: Sequence[int]) -> float:
        reach = _APART * (len(group) - 1)
        middle = sum(places[n] for n in group) / len(group)
        return min(max(middle - reach / 2, low + _APART / 2), high - _APART / 2 - reach)

    groups: list[list[int]] = []
    for n in sorted(range(len(places)), key=lambda n: places[n]):
        groups.append([n])
        while len(groups) > 1 and begin(groups[-1]) < begin(groups[-2]) + _APART * len(groups[-2]):
            groups[-2:] = [groups[-2] + groups[-1]]
    found = list(places)
    for group in groups:
        for step, n in enumerate(group):
            found[n] = begin(group) + step * _APART
    return found


def _legend(series: Sequence[Series], level: tuple[str, float] | None) -> list[str]:
    lines, top = [], _TOP + _PANEL + _BELOW + 12
    wide = (_WIDTH - _LEFT) / _LEGEND_COLUMNS
    titles = [each.title for each in series] + ([level[0]] if level else [])
    for number, title in enumerate(titles):
        x = _LEFT + number % _LEGEND_COLUMNS * wide
        y = top + number // _LEGEND_COLUMNS * _LEGEND_LINE
        if number < len(series):
            colour = COLOURS[number]
            lines.append(
                f'<circle fill="{colour}" stroke="{colour}" cx="{x + 8:.1f}" cy="{y}" r="5"/>'
            )
        else:
            lines.append(f'<line class="level" x1="{x:.1f}" x2="{x + 16:.1f}" y1="{y}" y2="{y}"/>')
        lines.append(text_svg(x + 22, y + 4, title, "start"))
    return lines


def text_svg(x: float, y: float, text: str, anchor: str) -> str:
    """A text in a drawing, escaped.

    Args:
        x: Place across.
        y: Place of its baseline, downwards.
        text: The text.
        anchor: Which of its ends lies there: ``start``, ``middle`` or ``end``.
    """
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
