"""Principal components of streamed rows; applying them needs numpy alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

import numpy as np

from shoal.embed.embedder import Embedder, x_shape_in
from shoal.embed.rows import training_rows
from shoal.errors import DataError
from shoal.formats.fitted_state import State
from shoal.formats.stored import tensor_of
from shoal.training.exact import ExactProduct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.formats.fitted_state import Tensors
    from shoal.formats.ledger import Ledger

    Float64 = NDArray[np.float64]

_SCATTER_FEATURES = 4096
"""Features up to which their scatter matrix is held; it has 128 MiB then."""
_MERGED_ROWS = 512
"""Wider rows that are decomposed at a time, unless more components are wanted."""


class PCAEmbedder(Embedder):
    """Centred rows times principal directions; components as they come.

    The product is exact, so that a row's bits are the same on every processor.
    """

    method = "pca"

    def __init__(
        self, x_shape: Sequence[int], mean: NDArray[np.float64], components: NDArray[np.float64]
    ) -> None:
        """Keep the fitted state.

        Args:
            x_shape: Shape of one encoded row.
            mean: float64 ``(features,)``.
            components: Orthonormal directions, float64 ``(dims, features)``.
        """
        self.x_shape = tuple(x_shape)
        self.dims = len(components)
        self._mean = mean
        self._components = components
        self._product = ExactProduct(components.T, mean)
        self.flops_per_row = self._product.flops_per_row

    def _block(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._product(x.reshape(len(x), -1)).astype(np.float32)

    def state(self) -> State:
        """Mean and components."""
        tensors = {"mean": self._mean, "components": self._components}
        return State(tensors, {"method": self.method, "x_shape": list(self.x_shape)})

    @classmethod
    def from_state(cls, tensors: Tensors, meta: Mapping[str, object]) -> Self:
        """The embedder that gave this state.

        Raises:
            CorruptError: It is not such a state, or one that no fit gives.
        """
        shape = x_shape_in(meta)
        features = math.prod(shape)
        mean = tensor_of(tensors, "mean", "float64", (features,))
        return cls(shape, mean, tensor_of(tensors, "components", "float64", (None, features)))


def fit_pca(
    dims: int, paths: Sequence[Path], x_shape: Sequence[int], ledger: Ledger
) -> PCAEmbedder:
    """Principal components of the training fold's rows, streamed.

    Fewer than ``dims`` where the rows differ in fewer directions, as far as rounding lets one
    tell: where there are fewer features or rows, or where features follow from each other, as
    those of a category do.

    Raises:
        DataError: There are no training rows, or all are equal.

    Source:
        Up to 4096 features, eigenvectors of the scatter matrix, updated as by Chan, Golub and
        LeVeque 1979. For wider rows Ross et al. 2008, incremental learning for robust visual
        tracking.
    """
    features = math.prod(x_shape)
    directions: _Scatter | _Leading | None = None
    for block in training_rows(paths, ("x",), ledger):
        rows = block["x"].reshape(len(block["x"]), features)
        if directions is None:
            narrow = features <= _SCATTER_FEATURES
            directions = _Scatter(rows[0]) if narrow else _Leading(rows[0], dims)
        directions.add(rows)
    if directions is None:
        raise DataError("embed: the training fold has no rows")
    components = directions.components(dims)
    if not len(components):
        raise DataError(
            f"embed: all {directions.rows} training rows are equal once encoded, so they have no "
            f"principal component; look for an input that varies"
        )
    ledger.rows_seen += directions.rows
    ledger.flops += directions.flops
    return PCAEmbedder(x_shape, directions.mean, _signed(components))


class _Mean:
    """Mean of the rows added so far.

    Rows are taken relative to the first, so that a constant feature varies by nothing at all.

    Attributes:
        rows: Rows added.
        flops: Floating-point operations spent on them.
    """

    def __init__(self, first: NDArray[np.float32]) -> None:
        self.rows = 0
        self.flops = 0.0
        self._first = first.astype(np.float64)
        self._mean = np.zeros(len(first))

    @property
    def mean(self) -> Float64:
        """Mean of the rows, ``(features,)``."""
        return self._first + self._mean

    def _centred(self, rows: NDArray[np.float32]) -> tuple[Float64, Float64]:
        """Rows less their mean, and one that stands for how far it is from the mean so far."""
        moved = rows.astype(np.float64) - self._first
        mean = moved.mean(axis=0)
        step = mean - self._mean
        before, self.rows = self.rows, self.rows + len(rows)
        self._mean = self._mean + step * (len(rows) / self.rows)
        return moved - mean, step * math.sqrt(before * len(rows) / self.rows)


class _Scatter(_Mean):
    """The scatter matrix: a symmetric product of ``rows features²`` FLOPs."""

    def __init__(self, first: NDArray[np.float32]) -> None:
        super().__init__(first)
        self._matrix = np.zeros((len(first), len(first)))

    def add(self, rows: NDArray[np.float32]) -> None:
        """Take rows, ``(rows, features)``."""
        centred, between = self._centred(rows)
        self._matrix += centred.T @ centred
        self._matrix += np.outer(between, between)
        self.flops += float(len(rows) * len(between) ** 2)

    def components(self, dims: int) -> Float64:
        """At most ``dims`` orthonormal directions, the one of most variance first."""
        from scipy.linalg import eigh

        size = len(self._matrix)
        kept = min(dims, size)
        values, vectors = eigh(self._matrix, subset_by_index=[size - kept, size - 1])
        self.flops += eigen_flops(size, kept)
        varies = values > values[-1] * size * np.finfo(np.float64).eps
        return np.asarray(vectors.T[varies][::-1])


class _Leading(_Mean):
    """The leading directions, each as long as its singular value."""

    def __init__(self, first: NDArray[np.float32], dims: int) -> None:
        super().__init__(first)
        self._dims = dims
        self._kept = np.zeros((0, len(first)))

    def add(self, rows: NDArray[np.float32]) -> None:
        """Take rows, ``(rows, features)``."""
        from scipy.linalg import svd

        step = max(_MERGED_ROWS, 2 * self._dims)
        for start in range(0, len(rows), step):
            centred, between = self._centred(rows[start : start + step])
            stacked = np.concatenate([self._kept, centred, between[None]])
            # This driver is slower than the usual one, and converges for rows of low rank, too.
            basis, triangle = np.linalg.qr(stacked.T)
            left, values, _ = svd(triangle, lapack_driver="gesvd")
            varies = values > values[0] * max(stacked.shape) * np.finfo(np.float64).eps
            kept = np.flatnonzero(varies)[: self._dims]
            self._kept = (basis @ left[:, kept] * values[kept]).T
            self.flops += svd_flops(*stacked.shape)

    def components(self, dims: int) -> Float64:
        """At most ``dims`` orthonormal directions, the one of most variance first."""
        kept = self._kept[:dims]
        return np.asarray(kept / np.linalg.norm(kept, axis=1, keepdims=True))


def _signed(components: Float64) -> Float64:
    """The directions with their largest entry above zero."""
    largest = np.abs(components).argmax(axis=1)
    signs = np.sign(components[np.arange(len(components)), largest])
    return np.ascontiguousarray(components * signs[:, None])


def eigen_flops(size: int, kept: int) -> float:
    """FLOPs of some eigenvectors of a symmetric matrix: ``4/3 n³ + 2 n² k``.

    Source:
        Golub and Van Loan, Matrix Computations, 4th edition, section 8.3.1: reduction to a
        tridiagonal matrix, and its ``n - 2`` reflections applied to ``k`` vectors.
    """
    return 4 * size**3 / 3 + 2 * size**2 * kept


def svd_flops(rows: int, columns: int) -> int:
    """FLOPs of a thin singular value decomposition: 6 m n² + 20 n³ for m ≥ n.

    Source:
        Golub and Van Loan, Matrix Computations, 4th edition, figure 8.6.1 (R-SVD, thin U and V).
    """
    long, short = max(rows, columns), min(rows, columns)
    return 6 * long * short**2 + 20 * short**3
