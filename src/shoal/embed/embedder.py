"""The base class of embedders, and how a fitted one is loaded."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import PositiveInt

from shoal.errors import CorruptError, DataError
from shoal.formats.fitted_state import State, load_state
from shoal.formats.stored import Stored, as_kind, naming

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from shoal.formats.fitted_state import Tensors


class Embedder(ABC):
    """A frozen map from encoded rows to embeddings.

    Attributes:
        method: Its name in settings and stored state.
        x_shape: Shape of one encoded row.
        dims: Width of the embedding.
        flops_per_row: Floating-point operations to embed one row.
    """

    method: str
    x_shape: tuple[int, ...]
    dims: int
    flops_per_row: int

    def embed(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Embedding of each row; a row's bits are the same in any batch and at any place in it.

        Args:
            x: Encoded rows ``(rows, *x_shape)``; numbers of tokens count as numbers.

        Returns:
            float32 ``(rows, dims)``.

        Raises:
            DataError: The rows have another shape than those of the fit.
        """
        if x.shape[1:] != self.x_shape:
            raise DataError(
                f"the embedder was fitted on rows of shape {self.x_shape}, but these have shape "
                f"{x.shape[1:]}; encode them with the state of the same generation"
            )
        return self._embedded(x.astype(np.float32, copy=False))

    @abstractmethod
    def _embedded(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """As :meth:`embed`, for rows of the right shape."""

    @abstractmethod
    def state(self) -> State:
        """State for :meth:`from_state`; its JSON holds ``method``."""

    @classmethod
    @abstractmethod
    def from_state(cls, tensors: Tensors, meta: Mapping[str, object]) -> Self:
        """The embedder whose :meth:`state` this is."""


class IdentityEmbedder(Embedder):
    """The encoded row itself, flattened."""

    method = "identity"

    def __init__(self, x_shape: Sequence[int]) -> None:
        self.x_shape = tuple(x_shape)
        self.dims = math.prod(self.x_shape)
        self.flops_per_row = 0

    def _embedded(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.array(x.reshape(len(x), self.dims), dtype=np.float32)

    def state(self) -> State:
        """The row's shape; there are no tensors."""
        return State({}, {"method": self.method, "x_shape": list(self.x_shape)})

    @classmethod
    def from_state(cls, tensors: Tensors, meta: Mapping[str, object]) -> Self:  # noqa: ARG003
        """The embedder that gave this state.

        Raises:
            CorruptError: It is not such a state.
        """
        return cls(x_shape_in(meta))


class _Facts(Stored):
    """Facts of an embedder that is no network, besides its tensors."""

    method: Literal["identity", "pca"]
    x_shape: list[PositiveInt]


def x_shape_in(meta: Mapping[str, object]) -> list[int]:
    """Shape of one encoded row, as an embedder's file says it.

    Raises:
        CorruptError: It does not.
    """
    return as_kind(_Facts, dict(meta)).x_shape


def load_embedder(path: str | os.PathLike[str]) -> Embedder:
    """The embedder whose state a file holds; torch is imported only if it is a network.

    Raises:
        SourceError: There is no such file.
        CorruptError: The file is damaged, or holds something else.
    """
    tensors, meta = load_state(path)
    with naming(path):
        return embedder_from_state(tensors, meta)


def embedder_from_state(tensors: Tensors, meta: Mapping[str, object]) -> Embedder:
    """The embedder that gave this state.

    Raises:
        CorruptError: None did.
    """
    method = meta.get("method")
    if method == "identity":
        return IdentityEmbedder.from_state(tensors, meta)
    if method == "pca":
        from shoal.embed.pca import PCAEmbedder

        return PCAEmbedder.from_state(tensors, meta)
    if method in ("scarf", "vicreg"):
        from shoal.embed.neural import NeuralEmbedder

        return NeuralEmbedder.from_state(tensors, meta)
    raise CorruptError(f"holds no embedder, method {method!r}")
