"""A few numbers a layer, from which the distance to another model's layer is estimated."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_NUMBERS = 8


def sketches(tensors: Mapping[str, NDArray[Any]]) -> dict[str, list[float]]:
    """Sums of a layer's parameters under eight fixed choices of signs, for each layer.

    The mean square of the difference of two sketches is, on average over signs, the squared
    distance of the layers, with a relative standard deviation of a half.

    Args:
        tensors: Real parameters by name; a layer is a name up to its last dot.

    Source:
        Alon, Matias and Szegedy 1996, The space complexity of approximating the frequency moments.
    """
    found = {}
    for layer in dict.fromkeys(name.rpartition(".")[0] for name in sorted(tensors)):
        own = [tensors[n] for n in sorted(tensors) if n.rpartition(".")[0] == layer]
        values = np.concatenate([each.reshape(-1).astype(np.float64) for each in own])
        seed = int.from_bytes(hashlib.sha256(layer.encode()).digest()[:8])
        # Raw bits are the same with every version of numpy.
        raw = np.random.PCG64(seed).random_raw(len(values))
        bits = [(raw >> np.uint64(place)) & np.uint64(1) for place in range(_NUMBERS)]
        found[layer] = [float(np.where(own == 1, values, -values).sum()) for own in bits]
    return found


def distance(first: Sequence[float], second: Sequence[float]) -> float:
    """Estimate of the Euclidean distance of two layers."""
    return float(np.sqrt(np.mean(np.square(np.subtract(first, second)))))
