"""Points of a space, drawn one after the other: the same for equal seeds, more after fewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from shoal.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from shoal.settings.search import Sampling

    Unit = NDArray[np.float64]

Place = TypeVar("Place", bound="Hashable")

_BLOCK = 64
"""Sobol points drawn at a time; a power of two, with which such a sequence has to begin."""


def distinct(
    sampling: Sampling, dims: int, place: Callable[[Unit], Place], setting: str
) -> list[Place]:
    """Places of a space in the order in which they are drawn, each once.

    Args:
        sampling: Sampler, seed and how many.
        dims: Dimensions of the space.
        place: From a point of the unit cube, float64 ``(dims,)`` in [0, 1), to a place.
        setting: The sampling's name in the settings, for the error.

    Raises:
        SettingsError: The space seems to have fewer places.
    """
    wanted = sampling.samples or 0
    places: dict[Place, None] = {}
    for draws, unit in enumerate(unit_points(sampling.sampler, sampling.seed, dims)):
        if len(places) == wanted:
            break
        if draws > 10_000 + 100 * wanted:
            raise SettingsError(
                f"{setting}.samples: {wanted} points are asked for, but no more than {len(places)} "
                f"that differ were found"
            )
        places.setdefault(place(unit))
    return list(places)


def unit_points(sampler: str, seed: int, dims: int) -> Iterator[Unit]:
    """Points of the unit cube without end, float64 ``(dims,)`` in [0, 1).

    Args:
        sampler: ``random``, or ``sobol`` for scrambled Sobol points.
        seed: Points are a function of it.
        dims: Dimensions of the cube.

    Source:
        Sobol 1967; scrambled as by Matousek 1998 (``scipy.stats.qmc``).
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    if sampler == "random":
        while True:
            yield rng.random(dims)
    from scipy.stats import qmc

    engine = qmc.Sobol(max(1, dims), rng=rng)
    while True:
        yield from engine.random(_BLOCK)


def index(unit: float, length: int) -> int:
    """Which of so many equal parts of [0, 1) a number lies in."""
    return min(int(unit * length), length - 1)
