"""Lines over two logarithmic axes, as an SVG file that needs nothing else."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from shoal.report.plots import COLOURS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Points = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT = 860.0, 420.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 70.0, 560.0, 40.0, 360.0
_STEPS = (1, 2, 5)
_TEXT = "#333333"


class _Axis:
    """Places of values on a logarithmic axis between two places."""

    def __init__(self, values: Sequence[float], first: float, last: float) -> None:
        self.ticks = _ticks(min(values), max(values))
        self._low, self._high = math.log(self.ticks[0]), math.log(self.ticks[-1])
        self._first, self._last = first, last

    def place(self, value: float) -> float:
        share = (math.log(value) - self._low) / (self._high - self._low)
        return self._first + share * (self._last - self._first)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from just below ``low`` to just above ``high``; at least two."""
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    rounds = [step * 10.0**decade for decade in decades for step in _STEPS]
    first = max(place for place, value in enumerate(rounds) if value <= low)
    last = min(place for place, value in enumerate(rounds) if value >= high)
    return rounds[first : max(last, first + 1) + 1]


def line_plot(title: str, across: str, up: str, lines: Mapping[tuple[str, bool], Points]) -> str:
    """Draw lines, each with a dot at every point, and a legend beside them.

    Args:
        title: A sentence above.
        across: What the horizontal axis shows.
        up: What the vertical axis shows.
        lines: By name and whether it is solid, points ``(across, up)``, all above zero. Lines of
            one name have one colour.
    """
    values = [point for points in lines.values() for point in points]
    x = _Axis([value for value, _ in values], _LEFT, _RIGHT)
    y = _Axis([value for _, value in values], _BOTTOM, _TOP)
    names = list(dict.fromkeys(name for name, _ in lines))
    parts = [_text(_LEFT, 22, title), *_grid(x, y, across, up)]
    for (name, solid), points in lines.items():
        places = [(x.place(a), y.place(b)) for a, b in sorted(points)]
        parts.append(_line(places, COLOURS[names.index(name)], solid))
    for number, name in enumerate(names):
        height = _TOP + 14 + 22 * number
        start = _RIGHT + 24
        parts.append(_line([(start, height - 4), (start + 22, height - 4)], COLOURS[number], True))
        parts.append(_text(start + 30, height, name))
    size = f'viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}"'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">'
    )
    back = f'<rect width="{_WIDTH:.0f}" height="{_HEIGHT:.0f}" fill="#ffffff"/>'
    return "\n".join([head, back, *parts, "</svg>\n"])


def _grid(x: _Axis, y: _Axis, across: str, up: str) -> list[str]:
    parts = []
    for tick in x.ticks:
        place = x.place(tick)
        parts.append(_rule(place, _TOP, place, _BOTTOM))
        parts.append(_text(place, _BOTTOM + 20, f"{tick:,.4g}", "middle"))
    for tick in y.ticks:
        place = y.place(tick)
        parts.append(_rule(_LEFT, place, _RIGHT, place))
        parts.append(_text(_LEFT - 8, place + 4, f"{tick:.4g}", "end"))
    parts.append(_text((_LEFT + _RIGHT) / 2, _BOTTOM + 44, across, "middle"))
    parts.append(_text(_LEFT - 8, _TOP - 14, up, "end"))
    return parts


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="#dddddd"/>'


def _line(places: Points, colour: str, solid: bool) -> str:
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    dash = "" if solid else ' stroke-dasharray="6 4"'
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places)
    return f'<path d="M{path}" stroke="{colour}" stroke-width="2" fill="none"{dash}/>{dots}'


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{_TEXT}">{words}</text>'
