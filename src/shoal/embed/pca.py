"""Principal components, fitted incrementally; applying them needs numpy alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from shoal.embed.embedder import Embedder, x_shape_in
from shoal.embed.rows import READ_ROWS, training_rows
from shoal.errors import DataError
from shoal.stored import tensor_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.ledger import Ledger


class PCAEmbedder(Embedder):
    """Centred rows times principal directions, in float64 within; components as they come."""

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
        self.flops_per_row = 2 * components.size
        self._mean = mean
        self._components = components

    def _block(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        centred = x.reshape(len(x), -1).astype(np.float64) - self._mean
        return (centred @ self._components.T).astype(np.float32)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Mean and components."""
        tensors = {"mean": self._mean, "components": self._components}
        return tensors, {"method": self.method, "x_shape": list(self.x_shape)}

    @classmethod
    def from_state(cls, tensors: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> Self:
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

    All of them, where a row has fewer features than ``dims``.

    Raises:
        DataError: There are fewer training rows than components.

    Source:
        Ross et al. 2008, incremental learning for robust visual tracking
        (scikit-learn's IncrementalPCA).
    """
    from sklearn.decomposition import IncrementalPCA

    features = math.prod(x_shape)
    dims = min(dims, features)
    pca = IncrementalPCA(n_components=dims)
    rows = 0
    blocks = (block["x"] for block in training_rows(paths, ("x",), ledger))
    for batch in _batches(blocks, max(READ_ROWS, 2 * dims)):
        if len(batch) < dims:
            raise DataError(
                f"embed: {dims} principal components need as many rows, but the training fold "
                f"has {len(batch)}; lower embed.dims"
            )
        # What is decomposed: the batch, the components so far and a correction of the mean.
        stacked = len(batch) + (dims + 1 if rows else 0)
        pca.partial_fit(batch.reshape(len(batch), -1).astype(np.float64))
        rows += len(batch)
        ledger.flops += svd_flops(stacked, features)
    if not rows:
        raise DataError("embed: the training fold has no rows")
    ledger.rows_seen += rows
    return PCAEmbedder(x_shape, pca.mean_, pca.components_)


def svd_flops(rows: int, columns: int) -> int:
    """FLOPs of a thin singular value decomposition: 6 m n² + 20 n³ for m ≥ n.

    Source:
        Golub and Van Loan, Matrix Computations, 4th edition, figure 8.6.1 (R-SVD, thin U and V).
    """
    long, short = max(rows, columns), min(rows, columns)
    return 6 * long * short**2 + 20 * short**3


def _batches(blocks: Iterable[NDArray[Any]], rows: int) -> Iterator[NDArray[Any]]:
    """The same rows in batches of at least ``rows`` rows, or all in one where there are fewer.

    The rest joins the last batch: a batch must not have fewer rows than components.
    """
    held: NDArray[Any] | None = None
    for block in blocks:
        joined = block if held is None else np.concatenate([held, block])
        while len(joined) >= 2 * rows:
            yield joined[:rows]
            joined = joined[rows:]
        held = joined
    if held is not None:
        yield held
