"""Products and sums whose bits depend neither on a row's place, nor its batch, nor the processor.

A matrix product adds in an order that its shape, a row's place in it and the processor decide,
and each order rounds otherwise: with kernels for AVX2 a row has one of two answers by its place in
a block. Here numbers are cut into whole numbers so short that every partial sum is one that
float64 holds exactly. Then no order rounds, and BLAS may take any. That is done where it matters:
where a plain product's error leaves open to which float32 the result is rounded.

Networks cannot be cut so. They get their rows in padded blocks of one size: the same rows in
batches of another size gave other bits in 43 % of rows, in blocks of this size in none, as long as
the kernel rounds alike at every place of a block, which torch's does with
:mod:`shoal.training.determinism`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Float64 = NDArray[np.float64]

BLOCK_ROWS = 256

_EXACT_BITS = 53
_PARTS = 3
_SMALLEST = -900
"""Exponent below which numbers count as zero, so that no power of two here overflows."""
_PRODUCT_ROWS = 1024
"""Rows of a plain product: few enough to stay in the processor's cache."""
_LONG, _TINY = 2.0**300, 2.0**-200
"""Length of a column beyond which its product is exact at once; and more than is lost where numbers
are too small for float64, but less than float32 holds."""


def padded_blocks(rows: NDArray[Any], dtype: str) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Blocks of exactly BLOCK_ROWS rows, the last one padded with zeros.

    Args:
        rows: ``(rows, …)``.
        dtype: numpy type of the blocks.

    Yields:
        Place of the block's rows, and the block ``(BLOCK_ROWS, …)``.
    """
    for start in range(0, len(rows), BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, len(rows))
        block = np.zeros((BLOCK_ROWS, *rows.shape[1:]), dtype=dtype)
        block[: stop - start] = rows[start:stop]
        yield slice(start, stop), block


class ExactProduct:
    """Rows, less an origin, times a matrix, rounded to float32 alike on every processor.

    A plain product in float64 settles what rounds alike at both ends of its error. The few rows
    where an entry does not are multiplied exactly: each row, and each column of the matrix, is cut
    into three whole numbers per entry, of ``b`` bits each, relative to its own largest entry, with
    ``2 b + log2(features) <= 53``. Of the nine products of these parts the smallest three are left
    out.

    Before it is rounded, the product is wrong by at most ``(2 n + 16) u + 8 n 8^-b`` times the
    lengths of row and column, for ``n`` features, where ``u`` is half of float64's epsilon. So it
    is the float32 nearest to the true product, or next to it where that lies about halfway
    between two.

    Attributes:
        flops_per_row: Floating-point operations of one row in one plain product; that exactness
            takes more is no part of what a row needs.

    Source:
        Ozaki, Ogita, Oishi and Rump 2012, error-free transformations of matrix multiplication.
        Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1: an inner product
        of n terms, added in any order, is wrong by at most n u / (1 - n u) times that of absolute
        values, which is at most the product of both lengths.
    """

    def __init__(self, weights: NDArray[Any], origin: NDArray[Any] | float = 0.0) -> None:
        """Cut the matrix.

        Args:
            weights: ``(features, outputs)``.
            origin: Subtracted from each row first, ``(features,)``.
        """
        self._origin = np.asarray(origin, dtype=np.float64)
        self._weights: Float64 = np.ascontiguousarray(weights, dtype=np.float64)
        features, self._outputs = weights.shape
        self.flops_per_row = 2 * weights.size
        self._bits = (_EXACT_BITS - (features - 1).bit_length()) // 2
        parts, self._unit = _cut(self._weights, 0, self._bits)
        self._parts = np.concatenate(parts, axis=1)
        error = (features + 8) * np.finfo(np.float64).eps + 8 * features * 8.0**-self._bits
        with np.errstate(over="ignore"):
            length = np.sqrt(np.square(self._weights).sum(axis=0))
        self._doubt: Float64 = np.where(length < _LONG, error * length, np.inf)

    def __call__(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """The product, float32 ``(rows, outputs)``; NaN for a row that is not finite.

        Args:
            rows: ``(rows, features)``.
        """
        product = np.empty((len(rows), self._outputs), np.float32)
        for start in range(0, len(rows), _PRODUCT_ROWS):
            some = slice(start, start + _PRODUCT_ROWS)
            block = np.array(rows[some], dtype=np.float64)
            block -= self._origin
            product[some] = self._rounded(block)
        product += np.float32(0)  # no -0.0, which the plain product may have for 0.0
        return product

    def _rounded(self, rows: Float64) -> NDArray[np.float32]:
        with np.errstate(invalid="ignore", over="ignore"):
            doubt = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None] * self._doubt
            doubt += _TINY
            plain = rows @ self._weights
            least: NDArray[np.float32] = (plain - doubt).astype(np.float32)
            plain += doubt
            differ = np.flatnonzero(least != plain.astype(np.float32))
            if len(differ):
                doubtful = np.unique(differ // self._outputs)
                least[doubtful] = self._exact(rows[doubtful]).astype(np.float32)
        return least

    def _exact(self, rows: Float64) -> Float64:
        (high, middle, low), unit = _cut(rows, 1, self._bits)
        one, two = self._outputs, 2 * self._outputs
        large, small, least = (
            high @ self._parts,
            middle @ self._parts[:, :two],
            low @ self._parts[:, :one],
        )
        least += small[:, one:]
        least += large[:, two:]
        least *= 2.0**-self._bits
        least += small[:, :one]
        least += large[:, one:two]
        least *= 2.0**-self._bits
        least += large[:, :one]
        product: Float64 = least * unit
        product *= self._unit
        return product


def _cut(values: Float64, axis: int, bits: int) -> tuple[list[Float64], Float64]:
    """Three whole numbers for each value, and a unit per row or column, a power of two.

    ``values = (high + middle 2^-bits + low 4^-bits) unit``, nearly. ``high`` is at most
    ``2^bits``, the others half of that.
    """
    largest = np.abs(values).max(axis=axis, keepdims=True)
    exponent = np.maximum(np.frexp(largest)[1], _SMALLEST)
    rest = values * np.ldexp(1.0, bits - exponent)
    parts = []
    for _ in range(_PARTS):
        parts.append(np.rint(rest))
        rest -= parts[-1]
        rest *= 2.0**bits
    return parts, np.ldexp(1.0, exponent - bits)


def row_sums(values: Float64) -> Float64:
    """Sums over the last axis, by halves: one order of additions, whatever the memory's layout."""
    return first_sums(np.array(np.moveaxis(values, -1, 0), order="C"))


def first_sums(values: Float64) -> Float64:
    """The same over the first axis, in place of the values."""
    while (width := len(values)) > 1:
        half = (width + 1) // 2
        values[: width - half] += values[half:]
        values = values[:half]
    sums: Float64 = values.sum(axis=0)
    return sums
