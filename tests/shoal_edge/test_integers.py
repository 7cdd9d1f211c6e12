"""Integers as streams."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal_edge.errors import PatchError
from shoal_edge.integers import (
    Reader,
    Writer,
    put_differences,
    put_steps,
    take_differences,
    take_steps,
)


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 40), longest=st.integers(0, 40000))
def test_steps_come_back(seed, count, longest):
    """Steps of any size come back, and nothing is left of the streams."""
    steps = np.random.default_rng(seed).integers(-longest, longest + 1, count, np.int32)
    steps[::2] = 0
    out = Writer()
    put_steps(out, steps)
    streams = Reader(out.streams())

    assert np.array_equal(take_steps(streams, len(steps)), steps)
    streams.end()


@pytest.mark.parametrize("width", [1, 2, 4, 8])
@pytest.mark.parametrize("is_float", [True, False])
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 20))
def test_patterns_come_back(width, is_float, seed, count):
    """Any bit patterns come back from any others, those of NaN and -0 too."""
    rng = np.random.default_rng(seed)
    old, new = (rng.integers(0, 256, count * width, np.uint8).view(f"<u{width}") for _ in range(2))
    new[::3] = old[::3]
    out = Writer()
    put_differences(out, old, new, is_float=is_float)
    streams = Reader(out.streams())

    assert np.array_equal(take_differences(streams, old, is_float=is_float), new)
    streams.end()


def test_small_differences_are_small_numbers_through_zero():
    """A weight that changes its sign by little has a small difference, as floats are ordered."""
    old = np.array([1e-45, -1e-45], np.float32).view(np.uint32)
    new = np.array([-1e-45, 1e-45], np.float32).view(np.uint32)
    out = Writer()
    put_differences(out, old, new, is_float=True)

    assert not any(out.streams()[f"bits.4.{plane}"].any() for plane in range(3))


def test_few_steps_take_few_bytes():
    """Steps of one weight in fifty take less than a twelfth of a byte each, signs included."""
    rng = np.random.default_rng(0)
    steps = np.where(rng.random(100_000) < 0.02, rng.choice([-1, 1], 100_000), 0)
    out = Writer()
    put_steps(out, steps.astype(np.int32))
    import zstandard

    taken = sum(len(zstandard.compress(part.tobytes(), 19)) for part in out.streams().values())

    assert taken < 0.022 * 100_000  # an ideal code: 0.0202


def test_streams_that_end_early_or_late_are_refused():
    """A stream gives exactly what is taken from it."""
    streams = Reader({"a": np.zeros(3, np.uint8)})
    streams.take("a", 2)

    with pytest.raises(PatchError, match="'a' holds more"):
        streams.end()
    with pytest.raises(PatchError, match="'a' ends early"):
        streams.take("a", 2)
