"""Residuals and frames: exact, never larger than raw, and readable by zarr itself."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from shoal.pool_store.columns import Reference, encode_column
from zarr.storage import ZipStore

from shoal.pool_store import PoolStore
from shoal.pool_store.frames import Cut, decoded, encoded, fitted_cut
from shoal.pool_store.residuals import ALONE, DIFFERENCE, XOR, median, residual, restored
from shoal.pool_store.tensors import Kind

WORDS = {"float32": "<u4", "bfloat16": "<u2", "float64": "<u8", "int8": "u1", "int64": "<u8"}


@pytest.mark.parametrize("codec", [ALONE, XOR, DIFFERENCE])
@pytest.mark.parametrize("dtype", WORDS)
def test_residuals_are_undone(codec, dtype):
    """Whatever the bits, the words come back from what is left of them."""
    rng = np.random.default_rng(0)
    kind = Kind(dtype, (50,))
    words = rng.integers(0, 2**63, (20, 50)).astype(WORDS[dtype])
    words[0], words[1] = 0, ~words[0]
    reference = None if codec == ALONE else words[::-1].copy()

    left = residual(codec, kind, words, reference)

    assert (restored(codec, kind, left, reference) == words).all()


def test_neighbouring_floats_differ_by_one():
    """The difference of adjacent floats is small, also across zero and powers of two."""
    kind = Kind("float32", (3,))
    values = np.array([[1.0, -0.0, -2.0]], np.float32)
    following = np.nextafter(values, np.float32(np.inf))
    following[0, 1] = 0.0

    left = residual(DIFFERENCE, kind, following.view("<u4"), values.view("<u4"))

    assert left.max() <= 2


def test_a_median_is_one_of_the_numbers_in_the_middle():
    """The median is taken in the order of numbers, not of their bits."""
    values = np.array([[-3.0], [1.0], [-1.0]], np.float32)

    assert median(values.view("<u4")).view("<f4") == [-1.0]


@pytest.mark.parametrize("level", [1, None])
@pytest.mark.parametrize("by_place", [True, False])
@pytest.mark.parametrize("dtype", WORDS)
def test_frames_are_undone(dtype, by_place, level):
    """Words of any size, with outliers, come back from frames, with and without zstd."""
    rng = np.random.default_rng(1)
    kind = Kind(dtype, (10, 20))
    bits = 8 * np.dtype(WORDS[dtype]).itemsize
    usual = np.arange(200) % (bits - 1)
    words = (rng.random((30, 200)) * 2.0**usual).astype(WORDS[dtype])
    words[3, 7] = ~words[3, 7]
    words[4] = 0
    words[5] = ~words[4]
    cut = fitted_cut(kind, words, by_place, compressed=level is not None)

    frames = [memoryview(frame) for frame in encoded(cut, words, level)]

    assert (decoded(kind, cut, frames) == words).all()


@pytest.mark.parametrize("bits", range(33 - 1))
def test_words_are_cut_anywhere(bits):
    """A cut at any bit loses nothing and leaves the low bits as short as they are."""
    kind = Kind("float32", (21,))
    words = np.random.default_rng(bits).integers(0, 2**32, (3, 21)).astype("<u4")
    cut = Cut(kind, bits)

    low, high = cut.split(words)

    assert (cut.join(low, high) == words).all()
    assert low.shape[1] <= 21 * (bits // 8) + 3 * (bits % 8)


@pytest.mark.parametrize("speed", ["small", "fast"])
def test_no_frame_is_larger_than_the_tensor(speed):
    """Random bits, which nothing makes smaller, are stored as they are."""
    kind = Kind("float32", (500,))
    words = np.random.default_rng(0).integers(0, 2**32, (20, 500)).astype("<u4")
    other = Reference(words[:1], np.zeros(20, np.int64), np.zeros(20, np.int64))

    column = encode_column(kind, words, [other], speed)

    assert max(len(frame) for frame in column.frames) <= kind.bytes


def test_the_nearer_reference_wins():
    """Of two references each tensor takes the one that makes it smallest."""
    rng = np.random.default_rng(0)
    kind = Kind("float32", (1000,))
    centres = rng.normal(size=(2, 1000)).astype(np.float32)
    values = np.concatenate([centres[:1] + 1e-5, centres[1:] + 1e-5]).astype(np.float32)
    references = [
        Reference(centre[None].view("<u4"), np.full(2, number), np.zeros(2, np.int64))
        for number, centre in enumerate(centres)
    ]

    column = encode_column(kind, values.view("<u4"), references, "small")

    assert column.reference.tolist() == [0, 1]
    assert column.depth.tolist() == [1, 1]


def test_zarr_itself_reads_a_pack(tmp_path):
    """A pack is a zarr group: frames of each parameter, and where words are cut."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(30, 40)).astype(np.float32)
    pool = {
        f"m{n}": {"w": base + rng.normal(size=base.shape).astype("f4") / 1000} for n in range(20)
    }
    store = PoolStore(tmp_path)
    store.save({"base": {"w": base}})
    store.save(pool, base="base")
    index = store._current()
    pack = index.packs[1]

    group = zarr.open_group(ZipStore(tmp_path / pack.name, mode="r"), mode="r")

    frames = group["0"]
    rows = index.all_rows()
    assert dict(frames.attrs) == {
        "parameter": "w",
        "dtype": "float32",
        "shape": [30, 40],
        "frames": 20,
    }
    assert frames.shape == (rows["size"][rows["pack"] == 1].sum(),)
    assert frames[:].tobytes() in (tmp_path / pack.name).read_bytes()
    assert group["0.cut.0"][:].max() < 32
    assert group["0.cut.0"].shape == (1200,)
