"""Residuals and frames: exact, never larger than raw, and readable by zarr itself."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from zarr.storage import ZipStore

from shoal.model_store import ModelStore
from shoal.model_store.backends import Memory
from shoal.model_store.codecs import (
    ALONE,
    DIFFERENCE,
    RAW,
    Reference,
    chosen,
    median,
    nothing,
    residual,
    restored,
)
from shoal.model_store.frames import Split, decoded, encoded, fitted

WORDS = {"float32": "<u4", "bfloat16": "<u2", "float64": "<u8", "int8": "u1", "int64": "<u8"}


@pytest.mark.parametrize("codec", [ALONE, DIFFERENCE])
@pytest.mark.parametrize("is_float", [True, False])
@pytest.mark.parametrize("dtype", ["<u4", "<u2", "<u8", "u1"])
def test_residuals_are_undone(codec, is_float, dtype):
    """Whatever the bits, the words come back from what is left of them."""
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2**63, (20, 50)).astype(dtype)
    words[0], words[1] = 0, ~words[0]
    given, reference = words.copy(), words[::-1].copy()

    left = residual(codec, is_float, words, reference)

    assert (words == given).all()
    assert (restored(codec, is_float, left, reference) == words).all()


def test_neighbouring_floats_differ_by_one():
    """The difference of adjacent floats is small, also across powers of two."""
    values = np.array([[1.0, 2.0, -2.0]], np.float32)
    following = np.nextafter(values, np.float32(0))

    left = residual(DIFFERENCE, True, following.view("<u4"), values.view("<u4"))

    assert left.max() <= 2


def test_a_median_is_one_of_the_numbers_in_the_middle():
    """The median is taken in the order of numbers, not of their bits."""
    values = np.array([[-3.0], [1.0], [-1.0]], np.float32)

    assert median(values.view("<u4")).view("<f4") == [-1.0]


@pytest.mark.parametrize("by_place", [True, False])
@pytest.mark.parametrize("dtype", sorted(set(WORDS.values())))
def test_frames_are_undone(dtype, by_place):
    """Words of any size, with outliers, come back from frames."""
    rng = np.random.default_rng(1)
    usual = np.arange(200) % (8 * np.dtype(dtype).itemsize - 1)
    words = (rng.random((30, 200)) * 2.0**usual).astype(dtype)
    words[3, 7] = ~words[3, 7]
    words[4] = 0
    words[5] = ~words[4]
    split = fitted(words, [120, 0, 80], by_place)

    frames = [memoryview(frame) for frame in encoded(split, words)]

    assert (decoded(split, frames) == words).all()


@pytest.mark.parametrize("is_squeezed", [True, False])
@pytest.mark.parametrize("dtype", sorted(set(WORDS.values())))
def test_any_byte_may_be_the_compressed_one(dtype, is_squeezed):
    """Whatever byte of a word is chosen, and wherever, nothing is lost."""
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2**63, (3, 211)).astype(dtype)
    keys = rng.integers(0, 32 * words.itemsize, 211).astype(np.uint8)
    split = Split(words.itemsize, keys, is_squeezed)

    frames = [memoryview(frame) for frame in encoded(split, words)]

    assert (decoded(split, frames) == words).all()


def test_low_bytes_that_repeat_are_squeezed():
    """Numbers that were rounded to fewer bits take no more than these."""
    rng = np.random.default_rng(0)
    words = rng.normal(size=(20, 1000)).astype(np.float32).view("<u4") & 0xFFFF0000
    store = ModelStore(Memory())

    store.save({f"m{n}": {"w": row} for n, row in enumerate(words.view("<f4"))})

    packed = sum(n for name, n in store._backend.sizes().items() if name.startswith("pack"))
    assert packed < 0.5 * words.nbytes


def test_no_frame_is_larger_than_the_tensor():
    """Random bits, which nothing makes smaller, are stored as they are."""
    words = np.random.default_rng(0).integers(0, 2**32, (20, 500), dtype="u4")
    store = ModelStore(Memory())

    store.save({f"m{n}": {"w": row} for n, row in enumerate(words)})

    index = store._current()
    frames = index.contents().frames
    assert {index.form(frame).codec for frame in frames} == {RAW}
    assert frames["size"].max() == 2000


def test_the_nearer_reference_wins():
    """Of two references each model takes the one that makes it smallest."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(2, 1000)).astype(np.float32)
    words = np.concatenate([centres[:1] + 1e-5, centres[1:] + 1e-5, centres[1:] + 1e-5])
    references = [
        Reference(centre[None].view("<u4"), np.array([[number]]), np.zeros(3, np.int64))
        for number, centre in enumerate(centres)
    ]

    found = chosen(
        True,
        words.astype(np.float32).view("<u4"),
        [nothing(3, 1000, 1, np.dtype("<u4")), *references],
    )

    assert [(codec, reference, rows.tolist()) for codec, reference, rows in found] == [
        (DIFFERENCE, references[0], [0]),
        (DIFFERENCE, references[1], [1, 2]),
    ]


def test_zarr_itself_reads_a_pack(tmp_path):
    """A pack is a zarr group: frames of each form, and which bytes of them are compressed."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(30, 40)).astype(np.float32)
    pool = {
        f"m{n}": {"w": base + rng.normal(size=base.shape).astype("f4") / 1000} for n in range(20)
    }
    store = ModelStore(tmp_path)
    store.save({"base": {"w": base}})
    store.save(pool, base="base")
    index = store._current()
    pack = index.packs[1]

    group = zarr.open_group(ZipStore(tmp_path / pack.name, mode="r"), mode="r")

    frames = group["0"]
    rows = index.contents().frames
    assert dict(frames.attrs) == {
        "codec": "difference",
        "parameters": ["w"],
        "dtype": "float32",
        "shapes": [[30, 40]],
        "frames": 20,
    }
    assert frames.shape == (rows["size"][rows["pack"] == 1].sum(),)
    assert frames[:].tobytes() in (tmp_path / pack.name).read_bytes()
    assert group["0.keys"][:].max() < 4 * 32
    assert group["0.keys"].shape == (1200,)
