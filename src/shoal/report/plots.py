"""Plots of the evaluation report, as inline SVG: partition map and interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WIDTH = 900.0
_LOWEST, _HIGHEST = 320.0, 760.0
_MARGIN = 24.0
_DOT = 5.0
_INTERVAL_WIDTH, _INTERVAL_HEIGHT, _INTERVAL_MIDDLE, _INTERVAL_MARGIN = 640, 84, 34, 60
_LABELS_APART = 64.0

COLOURS = (
    *("#4477aa", "#ee6677", "#228833", "#ccaa33", "#66bbdd", "#aa3377"),
    *("#dd7733", "#7a6fc0", "#2a9d8f", "#b0674a", "#8a9a2f", "#c56fb0"),
)
"""Colours of partitions, repeated; chosen to be told apart on white and on near-black."""


def colour(partition: int) -> str:
    """Colour of a partition."""
    return COLOURS[partition % len(COLOURS)]


def map_svg(points: NDArray[Any], partition: NDArray[Any]) -> str:
    """Points coloured by partition, with each partition's number at its middle.

    Colours repeat after twelve partitions; the numbers do not. One unit is as long across as
    it is up, so distances may be compared.

    Args:
        points: Finite coordinates ``(rows, 2)``.
        partition: Partition of each row, integers ``(rows,)``; negative for none.

    Returns:
        One ``<svg>`` element, without reference to anything outside it.

    Raises:
        ValueError: The shapes disagree, there are no rows, or a coordinate is not finite.
    """
    if len(points) == 0 or points.shape != (len(partition), 2) or not np.isfinite(points).all():
        raise ValueError(f"need finite points (rows, 2), not {points.shape}, with a partition each")
    placed, height = _placed(points.astype(np.float64))
    groups = {int(p): placed[partition == p] for p in np.unique(partition)}
    dots = [_dots(p, rows) for p, rows in groups.items()]
    names = [_name(p, rows) for p, rows in groups.items()]
    return "\n".join(
        [
            f'<svg class="map" viewBox="0 0 {_WIDTH:.0f} {height:.0f}" role="img"'
            f' aria-label="Map of {len(groups)} partitions">',
            *dots,
            *names,
            "</svg>",
        ]
    )


def _placed(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Points in the drawing's units, centred, and the drawing's height."""
    low, high = points.min(axis=0), points.max(axis=0)
    span = np.maximum(high - low, 1e-12)
    inner = _WIDTH - 2 * _MARGIN
    height = float(np.clip(inner * span[1] / span[0] + 2 * _MARGIN, _LOWEST, _HIGHEST))
    scale = min(inner / span[0], (height - 2 * _MARGIN) / span[1])
    middle = (low + high) / 2
    # Pages count downwards, plots upwards.
    placed = (points - middle) * [scale, -scale] + [_WIDTH / 2, height / 2]
    return placed, height


def _dots(partition: int, rows: NDArray[np.float64]) -> str:
    """One path for all of a partition's rows: a line of no length with round ends is a dot."""
    path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in rows)
    return (
        f'<path d="{path}" stroke="{colour(partition)}" stroke-width="{_DOT}"'
        f' stroke-linecap="round" stroke-opacity="0.65" fill="none">'
        f"<title>partition {_title(partition)}: {len(rows)} rows shown</title></path>"
    )


def _name(partition: int, rows: NDArray[np.float64]) -> str:
    """The partition's number at the row that is closest to its rows' median."""
    distance = np.abs(rows - np.median(rows, axis=0)).sum(axis=1)
    x, y = rows[int(distance.argmin())]
    return f'<text x="{x:.1f}" y="{y:.1f}" dy="0.35em">{_title(partition)}</text>'


def _title(partition: int) -> str:
    return str(partition) if partition >= 0 else "none"


def interval_svg(
    difference: tuple[float, float | None, float | None],
    labels: tuple[str, str, str],
    *,
    lower_is_better: bool,
) -> str:
    """Draw a dot at a difference, a bar over its interval and a line at zero.

    Args:
        difference: Pool minus generalist, and the ends of the interval.
        labels: Texts of the difference and of the ends.
        lower_is_better: Whether the pool is better on the left.

    Returns:
        One ``<svg>`` element; empty where there is no interval.
    """
    known = [number for number in difference if number is not None]
    if len(known) < len(difference):
        return ""
    reach = max(map(abs, known)) or 1.0
    middle, y = _INTERVAL_WIDTH / 2, _INTERVAL_MIDDLE
    value, low, high = (middle + n / reach * (middle - _INTERVAL_MARGIN) for n in known)
    sides = ("pool better", "generalist better")
    left, right = sides if lower_is_better else sides[::-1]
    apart = max(0.0, _LABELS_APART - (high - low)) / 2
    bottom = _INTERVAL_HEIGHT - 4
    return f"""\
<svg class="interval" viewBox="0 0 {_INTERVAL_WIDTH} {_INTERVAL_HEIGHT}" role="img"
 aria-label="difference {labels[0]}, from {labels[1]} to {labels[2]}">
<line class="zero" x1="{middle}" x2="{middle}" y1="12" y2="56"/>
<line class="bar" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>
<circle cx="{value:.1f}" cy="{y}" r="7"/>
<text x="{low - apart:.1f}" y="{y + 22}" text-anchor="middle">{labels[1]}</text>
<text x="{high + apart:.1f}" y="{y + 22}" text-anchor="middle">{labels[2]}</text>
<text x="{value:.1f}" y="{y - 16}" text-anchor="middle" class="value">{labels[0]}</text>
<text class="side" x="0" y="{bottom}">← {left}</text>
<text class="side" x="{_INTERVAL_WIDTH}" y="{bottom}" text-anchor="end">{right} →</text>
</svg>"""
