"""Nearest points, the same on every processor and whatever rows stand beside a row.

A matrix product finds which points can be nearest, given how far it may have rounded. Only those
are compared, by a sum of squared differences in a fixed order. So the product's rounding, which
depends on the processor and on a row's place, decides nothing but how many are compared.

A product in float32 comes first, and settles nearly every row: one point alone can be nearest. For
the others, one in float64 is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from shoal_edge.exact import BLOCK_ROWS, first_sums, row_sums

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Float64 = NDArray[np.float64]
    Float32 = NDArray[np.float32]
    Places = NDArray[np.int64]

_HELD_NUMBERS = 2**15
"""Differences in memory at a time: 256 KiB."""
_HELD_ROWS, _COMPARED_ROWS = 2**13, 2**9
"""Rows that are turned at a time for the product in float32, and of these compared."""
_TINY = 2.0**-100
"""More than float32 loses where it underflows."""


class Near(NamedTuple):
    """Some points of each row.

    Attributes:
        points: Index of each point, int64 ``(rows, choices)``.
        squared: Its squared distance, float64 ``(rows, choices)``.
    """

    points: Places
    squared: Float64


class Targets:
    """Points to measure distances to.

    Attributes:
        points: float64 ``(points, dims)``.
    """

    def __init__(self, points: NDArray[Any]) -> None:
        """Keep the points, ``(points, dims)``."""
        self.points: Float64 = np.ascontiguousarray(points, dtype=np.float64)
        self._norms = row_sums(self.points * self.points)
        rounded = 2 * (self.points.shape[1] + 8) * np.finfo(np.float64).eps
        self._doubt = rounded, rounded * self._norms.max(initial=0.0)
        with np.errstate(over="ignore", invalid="ignore"):
            origin = self.points.sum(axis=0) / max(1, len(self.points))
            self._origin: NDArray[np.float32] = origin.astype(np.float32)
            moved = self.points - self._origin
            squared = row_sums(moved * moved)[:, None]
            narrow = np.concatenate([-2 * moved, squared], axis=1).astype(np.float32)
        self._narrow: NDArray[np.float32] = narrow
        self._narrow_doubt = 2 * (self.points.shape[1] + 8) * np.finfo(np.float32).eps
        self._columns: Float64 = np.ascontiguousarray(self.points.T)

    def nearest(self, rows: NDArray[Any], starts: NDArray[np.integer[Any]] | None = None) -> Near:
        """The closest point of each group of points; ties go to the lowest index.

        Args:
            rows: ``(rows, dims)``.
            starts: Where groups begin, ascending from 0, none empty; None for one group.

        Returns:
            One choice per group. The first point, at distance NaN, where a row is not finite.
        """
        begins = np.zeros(1, np.int64) if starts is None else np.asarray(starts, dtype=np.int64)
        near = self.surely_nearest(rows, begins)
        doubtful = np.flatnonzero((near.points < 0).any(axis=1))
        if len(doubtful):
            told = self._nearest_of_many(rows[doubtful], begins)
            near.points[doubtful], near.squared[doubtful] = told.points, told.squared
        return near

    def surely_nearest(self, rows: NDArray[Any], starts: NDArray[np.int64]) -> Near:
        """The point of each group that is nearest by more than float32 may round; -1 for no one.

        Distances of one row to other points of the group are greater as float32 numbers, too.

        Args:
            rows: ``(rows, dims)``.
            starts: Where groups begin.

        Returns:
            Squared distances are unspecified where there is no one.
        """
        points = np.full((len(starts), len(rows)), -1)
        factor = 2 * self._narrow_doubt
        for first in range(0, len(rows), _HELD_ROWS):
            some = slice(first, first + _HELD_ROWS)
            turned = np.ones((self.points.shape[1] + 1, len(rows[some])), np.float32)
            with np.errstate(over="ignore", invalid="ignore"):
                np.subtract(rows[some].T, self._origin[:, None], out=turned[:-1], casting="unsafe")
                doubt = np.square(turned[:-1]).sum(axis=0)
                doubt = factor * (doubt + self._narrow[:, -1].max()) + np.float32(_TINY)
                if len(starts) == 1:
                    self._settle(turned, doubt, points[0, some])
                else:
                    self._settle_groups(turned, doubt, starts, points[:, some])
        nearest = np.maximum(points, 0)
        squared = np.stack([self._squared(rows, point) for point in nearest])
        return Near(points.T, squared.T)

    def _settle(self, turned: Float32, doubt: Float32, points: Places) -> None:
        """Fill in the points ``(rows,)`` that are surely nearest of all.

        Args:
            turned: Rows less the origin, and ones, ``(dims + 1, rows)``.
            doubt: How far two of a row's products may be from the difference of their distances.
            points: To fill in.

        Source:
            As in :meth:`_blocks`. Numbers are rounded to float32 first, so a term is wrong by two
            more units, and distances that differ by less than two units may round alike: both are
            within the eight that the bound has to spare.
        """
        held = np.empty((min(len(points), _COMPARED_ROWS), len(self.points)), np.float32)
        for first in range(0, len(points), _COMPARED_ROWS):
            some = slice(first, first + _COMPARED_ROWS)
            width = len(points[some])
            product = np.matmul(turned[:, some].T, self._narrow.T, out=held[:width])
            nearest, row = product.argmin(axis=1), np.arange(width)
            least = product[row, nearest] + doubt[some]
            product[row, nearest] = np.inf
            second = product[row, product.argmin(axis=1)]
            points[some] = np.where((second > least) & np.isfinite(doubt[some]), nearest, -1)

    def _settle_groups(
        self, turned: Float32, doubt: Float32, starts: NDArray[np.int64], points: Places
    ) -> None:
        """The same for each group of points, ``(groups, rows)``."""
        lengths = np.diff(starts, append=len(self.points))
        known, rows = np.isfinite(doubt), points.shape[1]
        held = np.empty((len(self.points), min(rows, _COMPARED_ROWS)), np.float32)
        for first in range(0, rows, _COMPARED_ROWS):
            some = slice(first, first + _COMPARED_ROWS)
            width = points[:, some].shape[1]
            product = np.matmul(self._narrow, turned[:, some], out=held[:, :width])
            least = np.minimum.reduceat(product, starts, axis=0) + doubt[some]
            least = np.repeat(least, lengths, axis=0)
            point, row = np.divmod(np.flatnonzero(product <= least), width)
            row += width * (np.searchsorted(starts, point, side="right") - 1)
            chosen = np.full(len(starts) * width, -1)
            chosen[row] = point
            chosen[np.bincount(row, minlength=len(chosen)) != 1] = -1
            points[:, some] = np.where(known[some], chosen.reshape(len(starts), width), -1)

    def _nearest_of_many(self, rows: NDArray[Any], begins: NDArray[np.int64]) -> Near:
        """As :meth:`nearest`, where several points may be the closest."""
        lengths = np.diff(begins, append=len(self.points))
        group_of = np.repeat(np.arange(len(begins)), lengths)
        points = np.tile(begins, (len(rows), 1))
        squared = np.full(points.shape, np.nan)
        for first, block, product, doubt in self._blocks(rows):
            least = np.minimum.reduceat(product, begins, axis=1) + doubt
            row, point = np.nonzero(product <= np.repeat(least, lengths, axis=1))
            exact = self._squared(block, point, row)
            choice = (row + first) * len(begins) + group_of[point]
            begin = np.flatnonzero(np.diff(choice, prepend=-1))
            best = np.minimum.reduceat(exact, begin) if len(begin) else exact
            squared.flat[choice[begin]] = best
            won = np.flatnonzero(exact == np.repeat(best, np.diff(begin, append=len(choice))))
            # Points ascend within a choice, and of several the last one written stays.
            points.flat[choice[won][::-1]] = point[won][::-1]
        return Near(points, squared)

    def neighbours(self, rows: NDArray[Any], count: int) -> Near:
        """The ``count`` closest points of each row, in the order of their index.

        Args:
            rows: ``(rows, dims)``.
            count: At most as many as there are points; of equally close ones the lowest are taken,
                and so they are where a row is not finite.
        """
        parts = [Near(np.empty((0, count), np.int64), np.empty((0, count)))]
        for _, block, product, doubt in self._blocks(rows):
            least = np.partition(product, count - 1, axis=1)[:, count - 1 : count] + doubt
            row, point = np.nonzero(~(product > least))  # so all points where there is no number
            exact = self._squared(block, point, row)
            order = np.lexsort((point, exact, row))
            rank = np.arange(len(row)) - np.searchsorted(row, row)
            kept = np.sort(order[rank < count]).reshape(len(block), count)
            parts.append(Near(point[kept], exact[kept]))
        return Near(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def _blocks(self, rows: NDArray[Any]) -> Iterator[tuple[int, Float64, Float64, Float64]]:
        """Blocks of rows: where one begins, its rows, squared distances, and their doubt.

        Two squared distances of a row that differ by more than its doubt ``(rows, 1)`` are in the
        order of their exact sums of squares: the bound below, once for each of the two.

        Source:
            Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1: an inner
            product of n terms, added in any order, is wrong by at most n u / (1 - n u) times that
            of absolute values. Here three of them and the sum of squared differences, with
            |a b| <= (a² + b²) / 2: 4 (n + 8) u times both squared norms, where u = eps / 2.
        """
        factor, constant = self._doubt
        for first in range(0, len(rows), BLOCK_ROWS):
            block = np.asarray(rows[first : first + BLOCK_ROWS], dtype=np.float64)
            norms = row_sums(block * block)[:, None]
            product = block @ self.points.T
            product *= -2.0
            product += norms
            product += self._norms
            yield first, block, product, 2 * (factor * norms + constant)

    def _squared(self, rows: NDArray[Any], point: Places, row: Places | None = None) -> Float64:
        """Squared distance of each row, or those of some places, to a point of its own."""
        squared = np.empty(len(point))
        step = max(1, _HELD_NUMBERS // max(1, rows.shape[1]))
        for start in range(0, len(point), step):
            some = slice(start, start + step)
            own = rows[some] if row is None else rows[row[some]]
            difference = own.T.astype(np.float64, order="C")
            difference -= self._columns.take(point[some], axis=1)
            squared[some] = first_sums(np.square(difference, out=difference))
        return squared


def nearest_point(rows: NDArray[Any], points: NDArray[Any]) -> NDArray[np.int32]:
    """Index of the closest point for each row.

    Args:
        rows: ``(rows, dims)``.
        points: ``(points, dims)``.

    Returns:
        int32 ``(rows,)``; ties go to the lowest index.

    Source:
        Lloyd 1982, assignment step.
    """
    return Targets(points).nearest(rows).points[:, 0].astype(np.int32)
