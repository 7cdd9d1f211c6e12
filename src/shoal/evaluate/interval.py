"""The interval plot: a difference and its 95 % interval beside zero, as inline SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shoal.evaluate.bootstrap import Difference

_WIDTH, _HEIGHT, _MIDDLE = 640, 84, 34
_MARGIN = 60


def interval_svg(difference: Difference, lower_is_better: bool, labels: Sequence[str]) -> str:
    """A dot at the difference, a bar over its interval and a line at zero; empty without interval.

    Args:
        difference: The difference and the ends of its interval.
        lower_is_better: Whether the pool is better on the left.
        labels: How value, low and high are written.

    Returns:
        One ``<svg>`` element.
    """
    known = [number for number in difference if number is not None]
    if len(known) < len(difference):
        return ""
    reach = max(map(abs, known)) or 1.0

    def place(number: float) -> float:
        return _WIDTH / 2 + number / reach * (_WIDTH / 2 - _MARGIN)

    value, low, high = map(place, known)
    sides = ("pool better", "generalist better")
    left, right = sides if lower_is_better else sides[::-1]
    low_text, high_text = _apart(low, high)
    return "\n".join(
        [
            f'<svg class="interval" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"'
            f' aria-label="difference {labels[0]}, from {labels[1]} to {labels[2]}">',
            f'<line class="zero" x1="{_WIDTH / 2}" x2="{_WIDTH / 2}" y1="12" y2="56"/>',
            f'<line class="bar" x1="{low:.1f}" x2="{high:.1f}" y1="{_MIDDLE}" y2="{_MIDDLE}"/>',
            f'<circle cx="{value:.1f}" cy="{_MIDDLE}" r="7"/>',
            f'<text x="{low_text:.1f}" y="{_MIDDLE + 22}" text-anchor="middle">{labels[1]}</text>',
            f'<text x="{high_text:.1f}" y="{_MIDDLE + 22}" text-anchor="middle">{labels[2]}</text>',
            f'<text x="{value:.1f}" y="{_MIDDLE - 16}" text-anchor="middle"'
            f' class="value">{labels[0]}</text>',
            f'<text class="side" x="0" y="{_HEIGHT - 4}">← {left}</text>',
            f'<text class="side" x="{_WIDTH}" y="{_HEIGHT - 4}" text-anchor="end">{right} →</text>',
            "</svg>",
        ]
    )


def _apart(low: float, high: float, least: float = 64.0) -> tuple[float, float]:
    """Places of two labels, moved apart where they would lie on each other."""
    missing = max(0.0, least - (high - low)) / 2
    return low - missing, high + missing
