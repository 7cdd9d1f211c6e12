"""The partition map: two-dimensional points coloured by partition, as inline SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WIDTH = 900.0
_LOWEST, _HIGHEST = 320.0, 760.0
_MARGIN = 24.0
_DOT = 5.0

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
