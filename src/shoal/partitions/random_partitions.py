"""Partitions by chance: a row's is a function of its key, as a true partition is of its input."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from shoal.formats.hashing import uniform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def random_draw(keys: NDArray[np.uint8], seed: int) -> NDArray[np.float64]:
    """The draw that decides a row's random partition, in [0, 1)."""
    return uniform(keys, seed, "random partition")


def random_bounds(rows: Sequence[int]) -> list[tuple[float, float]]:
    """Intervals of the draw that give random partitions of these sizes."""
    edges = np.concatenate([[0.0], np.cumsum(rows) / max(1, sum(rows))])
    edges[-1] = 1.0
    return [(float(low), float(high)) for low, high in itertools.pairwise(edges)]
