"""Embeddings of encoded rows, with the bits that the workflow gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal_edge.errors import EdgeError
from shoal_edge.exact import ExactProduct

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from shoal_edge.state import State

    Embed = Callable[[NDArray[Any]], NDArray[np.float32]]

_FIRST, _SECOND, _SHIFT = 2654435761, 2246822519, 16
"""Odd factors of both tokens of a pair, modulo 2 to the 32, and how many low bits are dropped."""


def root_counts(tokens: NDArray[np.int64], buckets: int) -> NDArray[np.float32]:
    """Square roots of how often each token and each pair of neighbours stands in a row.

    Square roots, since the variance of a count grows with it. They are rounded correctly, so the
    bits are the same everywhere.

    Args:
        tokens: Whole numbers ``(rows, places)``, from 1 on; 0 is no token.
        buckets: Into which tokens fall by their number, and pairs by a hash.

    Returns:
        float32 ``(rows, 2 buckets)``: tokens, then pairs.
    """
    is_token = tokens > 0
    single = (tokens - 1) % buckets
    left, right = tokens[:, :-1].astype(np.uint32), tokens[:, 1:].astype(np.uint32)
    mixed = (left * np.uint32(_FIRST) + right * np.uint32(_SECOND)) >> np.uint32(_SHIFT)
    pair = buckets + mixed.astype(np.int64) % buckets
    begin = 2 * buckets * np.arange(len(tokens))[:, np.newaxis]
    places = [(begin + single)[is_token], (begin + pair)[is_token[:, :-1] & is_token[:, 1:]]]
    counts = np.bincount(np.concatenate(places), minlength=2 * buckets * len(tokens))
    return np.sqrt(counts.astype(np.float32)).reshape(len(tokens), 2 * buckets)


def embedder(state: State) -> Embed:
    """What embeds encoded rows ``(rows, …)``: float32 ``(rows, dims)``.

    Args:
        state: The pool's embedder, of method ``identity``, ``pca`` or ``counts``.

    Raises:
        EdgeError: It is a network.
    """
    method, prefix = state.meta["method"], state.meta["prefix"]
    if method not in ("identity", "pca", "counts"):
        raise EdgeError(f"embeds rows by {method}, a network of torch's, which devices do not have")

    def seen(x: NDArray[Any]) -> NDArray[np.float32]:
        part = x[:, :prefix].astype(np.float32, copy=False)
        return part.reshape(len(x), -1) if x.size else np.zeros((len(x), 0), np.float32)

    if method == "identity":
        return lambda x: np.array(seen(x))
    mean = state.tensors["mean"]
    product = ExactProduct(state.tensors["components"].T, mean)
    if method == "pca":
        return lambda x: product(seen(x).reshape(len(x), len(mean)))
    return lambda x: product(root_counts(seen(x).astype(np.int64), len(mean) // 2))
