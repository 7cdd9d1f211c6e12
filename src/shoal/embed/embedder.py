"""The base class of embedders, and how a fitted one is loaded."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, PositiveInt

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
        prefix: How many places of a row's first axis are embedded; None for all.
        dims: Width of the embedding.
        flops_per_row: Floating-point operations to embed one row.
    """

    method: str
    x_shape: tuple[int, ...]
    prefix: int | None
    dims: int
    flops_per_row: int

    def embed(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Embedding of each row; a row's bits are the same in any batch and at any place in it.

        Args:
            x: Encoded rows ``(rows, *x_shape)``.

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
        return self._embedded(x[:, : self.prefix].astype(np.float32, copy=False))

    @abstractmethod
    def _embedded(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """As :meth:`embed`, for what is seen of rows of the right shape."""

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

    def __init__(self, x_shape: Sequence[int], prefix: int | None = None) -> None:
        self.x_shape, self.prefix = tuple(x_shape), prefix
        self.dims = math.prod(seen_shape(x_shape, prefix))
        self.flops_per_row = 0

    def _embedded(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.array(x.reshape(len(x), self.dims), dtype=np.float32)

    def state(self) -> State:
        """The row's shape, and what of it is seen; there are no tensors."""
        return State({}, facts_of(self))

    @classmethod
    def from_state(cls, tensors: Tensors, meta: Mapping[str, object]) -> Self:  # noqa: ARG003
        """The embedder that gave this state.

        Raises:
            CorruptError: It is not such a state.
        """
        return cls(*seen_in(meta))


def seen_shape(x_shape: Sequence[int], prefix: int | None) -> list[int]:
    """Shape of what an embedder sees of a row: at most so many places of its first axis."""
    places, *rest = x_shape
    return [places if prefix is None else min(prefix, places), *rest]


class _Facts(Stored):
    """Facts of an embedder that is no network, besides its tensors."""

    method: Literal["identity", "pca", "counts"]
    x_shape: Annotated[list[PositiveInt], Field(min_length=1)]
    prefix: PositiveInt | None


def facts_of(embedder: Embedder) -> dict[str, object]:
    """Facts of an embedder that is no network, as its file has them."""
    return {
        "method": embedder.method,
        "x_shape": list(embedder.x_shape),
        "prefix": embedder.prefix,
    }


def seen_in(meta: Mapping[str, object]) -> tuple[list[int], int | None]:
    """Shape of one encoded row, and prefix, as an embedder's file says them.

    Raises:
        CorruptError: It does not.
    """
    facts = as_kind(_Facts, dict(meta))
    return facts.x_shape, facts.prefix


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
    if method == "counts":
        from shoal.embed.counts import CountsEmbedder

        return CountsEmbedder.from_state(tensors, meta)
    if method in ("scarf", "vicreg"):
        from shoal.embed.neural import NeuralEmbedder

        return NeuralEmbedder.from_state(tensors, meta)
    raise CorruptError(f"holds no embedder, method {method!r}")
