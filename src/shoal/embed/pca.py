"""Principal components of streamed rows; applying them needs numpy alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

import numpy as np

from shoal.embed.embedder import Embedder, facts_of, seen_in, seen_shape
from shoal.embed.rows import no_rows, training_rows
from shoal.errors import DataError
from shoal.formats.fitted_state import State
from shoal.formats.stored import tensor_of
from shoal_edge.exact import ExactProduct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.formats.fitted_state import Tensors
    from shoal.formats.ledger import Ledger

    Float64 = NDArray[np.float64]

_SCATTER_FEATURES = 4096
"""Features up to which their scatter matrix is held; it has 128 MiB then."""
_BLOCK_ROWS = 2048
"""Rows whose products are added at a time."""
_MERGED_ROWS = 512
"""Wider rows that are decomposed at a time, unless more components are wanted."""


class PCAEmbedder(Embedder):
    """Centred rows times principal directions; components as they come.

    The product is exact, so that a row's bits are the same on every processor.
    """

    method = "pca"

    def __init__(
        self,
        x_shape: Sequence[int],
        mean: NDArray[np.float64],
        components: NDArray[np.float64],
        prefix: int | None = None,
    ) -> None:
        """Keep the fitted state.

        Args:
            x_shape: Shape of one encoded row.
            mean: float64 ``(features,)``.
            components: Directions, float64 ``(dims, features)``.
            prefix: How many places of a row's first axis are seen; None for all.
        """
        self.x_shape, self.prefix = tuple(x_shape), prefix
        self.dims = len(components)
        self._mean = mean
        self._components = components
        self._product = ExactProduct(components.T, mean)
        self.flops_per_row = self._product.flops_per_row

    def _embedded(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._product(x.reshape(len(x), len(self._mean)))

    def state(self) -> State:
        """Mean and components."""
        tensors = {"mean": self._mean, "components": self._components}
        return State(tensors, facts_of(self))

    @classmethod
    def from_state(cls, tensors: Tensors, meta: Mapping[str, object]) -> Self:
        """The embedder that gave this state.

        Raises:
            CorruptError: It is not such a state, or one that no fit gives.
        """
        shape, prefix = seen_in(meta)
        features = math.prod(seen_shape(shape, prefix))
        mean = tensor_of(tensors, "mean", "float64", (features,))
        components = tensor_of(tensors, "components", "float64", (None, features))
        return cls(shape, mean, components, prefix)


def fit_pca(
    dims: int,
    paths: Sequence[Path],
    x_shape: Sequence[int],
    ledger: Ledger,
    prefix: int | None = None,
) -> PCAEmbedder:
    """Principal components of the training fold's rows, streamed.

    Fewer than ``dims`` where the rows differ in fewer directions, as far as rounding lets one
    tell: where there are fewer features or rows, or where features follow from each other, as
    those of a category do.

    Raises:
        DataError: There are no training rows, or all are equal.

    Source:
        Up to 4096 features, eigenvectors of the scatter matrix. For wider rows Ross et al. 2008,
        incremental learning for robust visual tracking, by the method of snapshots (Sirovich 1987).
    """
    features = math.prod(seen_shape(x_shape, prefix))
    directions: Scatter | _Leading | None = None
    for block in training_rows(paths, ("x",), ledger, prefix):
        rows = block["x"].reshape(len(block["x"]), features)
        if directions is None:
            kind = Scatter if features <= _SCATTER_FEATURES else _Leading
            directions = kind(rows, dims)
        directions.add(rows)
    if directions is None:
        raise no_rows()
    components = directions.components()
    check_varying(components, directions.rows)
    ledger.rows_seen += directions.rows
    ledger.flops += directions.flops
    return PCAEmbedder(x_shape, directions.mean, signed(components), prefix)


def check_varying(components: Float64, rows: int) -> None:
    """Refuse rows without a component.

    Raises:
        DataError: There is none.
    """
    if not len(components):
        raise DataError(
            f"embed: all {rows} training rows are equal once encoded, as far as they are embedded, "
            f"so they have no principal component; look for an input that varies"
        )


class Scatter:
    """The scatter matrix, in one pass: a symmetric product of ``rows features²`` FLOPs.

    Rows are taken relative to the mean of those before them, the first relative to their own, so
    that a constant feature varies by nothing at all.
    """

    def __init__(self, first: NDArray[np.float32], dims: int) -> None:
        self.rows, self.flops = 0, 0.0
        self._dims = dims
        self.mean = first[:_BLOCK_ROWS].mean(axis=0, dtype=np.float64)
        self._matrix = np.zeros((first.shape[1], first.shape[1]))

    def add(self, rows: NDArray[np.float32]) -> None:
        """Take rows, ``(rows, features)``."""
        for start in range(0, len(rows), _BLOCK_ROWS):
            moved = rows[start : start + _BLOCK_ROWS] - self.mean
            total = moved.sum(axis=0)
            self.rows += len(moved)
            self._matrix += moved.T @ moved
            self._matrix -= np.outer(total, total / self.rows)
            self.mean = self.mean + total / self.rows
        self.flops += float(rows.size * rows.shape[1])

    @property
    def deviations(self) -> Float64:
        """Standard deviation of each feature, ``(features,)``."""
        return np.asarray(np.sqrt(np.maximum(np.diagonal(self._matrix), 0) / self.rows))

    def components(self, unit: Float64 | float = 1.0) -> Float64:
        """At most ``dims`` orthonormal directions, the one of most variance first.

        Args:
            unit: Of each feature: they are of the rows divided by it.
        """
        units = np.broadcast_to(unit, self.mean.shape)
        vectors, flops = _leading(self._matrix / np.outer(units, units), self._dims)
        self.flops += flops
        return np.ascontiguousarray(vectors.T)


class _Leading:
    """The leading directions, each as long as its singular value, merged with block after block.

    Singular vectors come from the product of a block's rows with each other, which is small.
    """

    def __init__(self, first: NDArray[np.float32], dims: int) -> None:
        self.rows, self.flops = 0, 0.0
        self._dims = dims
        self.mean = first.mean(axis=0, dtype=np.float64)
        self._kept = np.zeros((0, first.shape[1]))

    def add(self, rows: NDArray[np.float32]) -> None:
        """Take rows, ``(rows, features)``."""
        step = max(_MERGED_ROWS, 2 * self._dims)
        for start in range(0, len(rows), step):
            moved = rows[start : start + step] - self.mean
            shift = moved.mean(axis=0)
            moved -= shift
            before, self.rows = self.rows, self.rows + len(moved)
            between = shift * math.sqrt(before * len(moved) / self.rows)
            self.mean = self.mean + shift * (len(moved) / self.rows)
            stacked = np.concatenate([self._kept, moved, between[None]])
            vectors, flops = _leading(stacked @ stacked.T, self._dims)
            self._kept = vectors.T @ stacked
            self.flops += flops + stacked.size * (len(stacked) + 2 * vectors.shape[1])

    def components(self) -> Float64:
        """At most ``dims`` orthonormal directions, the one of most variance first."""
        return np.asarray(np.linalg.qr(self._kept.T)[0].T)


def _leading(product: Float64, dims: int) -> tuple[Float64, float]:
    """Eigenvectors of a symmetric matrix with the largest eigenvalues above zero, and FLOPs.

    Returns:
        At most ``dims``, ``(size, vectors)``, the one with the largest eigenvalue first.
    """
    from scipy.linalg import eigh

    size = len(product)
    kept = min(dims, size)
    values, vectors = eigh(product, subset_by_index=[size - kept, size - 1])
    varies = values > values[-1] * size * np.finfo(np.float64).eps
    return vectors[:, varies][:, ::-1], eigen_flops(size, kept)


def signed(components: Float64) -> Float64:
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
