"""Sparse copies: a share of a model's weights moves, all others stay where they are deployed.

What moves is rounded to few bits. What stays is compared with the trained weights again at the next
copy, so nothing is lost for good.

Source: sparse deployment after Prapas et al. 2021, Continuous training and deployment of deep
learning models; what is left out is remembered as by Stich et al. 2018, Sparsified SGD with memory.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.deploy.grid import goes_on, multiples

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from shoal.settings.deploying import Sparse

    Tensors = Mapping[str, NDArray[Any]]


def exponent_of_bits(weights: NDArray[Any], bits: int) -> int | None:
    """Exponent of the power of two of which the largest weight is a number of so many bits.

    Args:
        weights: A tensor, of any shape.
        bits: Bits of the number, its sign among them.

    Returns:
        None where there is no such grid: for types other than float32, weights that are all 0 or
        are not all finite, and tiny ones.
    """
    if weights.dtype != np.float32 or not weights.size or not np.isfinite(weights).all():
        return None
    largest = float(np.abs(weights).max())
    exponent = math.frexp(largest)[1] - (bits - 1)
    return exponent if largest and exponent >= -100 else None


def sparsely(
    weights: Tensors,
    settings: Sparse,
    deployed: Tensors,
    exponents: Mapping[str, int],
    seed: int,
) -> tuple[dict[str, NDArray[Any]], dict[str, int]]:
    """Tensors of a model as they are deployed, and the exponents of their grids.

    A tensor that is not deployed yet, or whose size has changed more than twofold, is rounded as a
    whole. Of the weights of all others together a share moves.

    Args:
        weights: The trained tensors.
        settings: Which share, which weights, and how many bits.
        deployed: What is deployed now.
        exponents: The exponents of its grids.
        seed: Seed of the random choice.
    """
    found: dict[str, NDArray[Any]] = {}
    grids: dict[str, int] = {}
    steps: dict[str, NDArray[np.float64]] = {}
    for name, values in sorted(weights.items()):
        wanted, own = exponent_of_bits(values, settings.bits), exponents.get(name)
        if wanted is None:
            found[name] = values
        elif own is not None and goes_on(values, wanted, deployed.get(name), own):
            grids[name] = own
            steps[name] = (values.astype(np.float64) - deployed[name]).ravel() * 2.0**-own
        else:
            grids[name] = wanted
            found[name] = multiples(np.round(values.astype(np.float64) * 2.0**-wanted), wanted)
    moves = _chosen([np.abs(steps[n]) * 2.0 ** grids[n] for n in steps], settings, seed)
    for name, own_moves in zip(steps, moves, strict=True):
        before = deployed[name].astype(np.float64) * 2.0 ** -grids[name]
        step = np.where(own_moves, np.round(steps[name]), 0).reshape(before.shape)
        found[name] = multiples(before + step, grids[name])
    return found, grids


def _chosen(
    distances: list[NDArray[np.float64]], settings: Sparse, seed: int
) -> list[NDArray[np.bool_]]:
    """Which weights of each tensor move."""
    if not distances:
        return []
    ends = np.cumsum([len(each) for each in distances])
    count = int(ends[-1])
    ranks: NDArray[Any]
    if settings.choice == "random":
        # Raw bits are the same with every version of numpy.
        ranks = np.random.PCG64(seed).random_raw(count)
    else:
        ranks = -np.concatenate(distances)
    moves = np.zeros(count, bool)
    moves[np.argsort(ranks, kind="stable")[: math.ceil(settings.density * count)]] = True
    return np.split(moves, ends[:-1])
