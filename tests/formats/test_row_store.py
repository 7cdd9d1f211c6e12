"""Row-aligned arrays of a shard in a zarr zip file."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.storage import ZipStore

from shoal.errors import CorruptError, SourceError
from shoal.formats.hashing import row_hashes
from shoal.formats.row_store import CHUNK_ROWS, RowArray, ShardRows, write_rows

ARRAYS = {"x": RowArray((2,), "float32"), "y": RowArray((), "int64")}


def batches(*sizes: int) -> Iterator[dict[str, np.ndarray]]:
    start = 0
    for size in sizes:
        y = np.arange(start, start + size)
        yield {"x": np.stack([y, y], axis=1).astype(np.float32), "y": y}
        start += size


def test_rows_come_back_in_order_whatever_the_batches(tmp_path: Path):
    """Batches of any sizes make the same store."""
    path = tmp_path / "a.zarr.zip"

    write_rows(path, 1000, ARRAYS, batches(10, 0, 300, 690), {})

    with ShardRows(path) as rows:
        assert (rows.read("y") == np.arange(1000)).all()
        assert (rows.read("x", 255, 258)[:, 1] == [255, 256, 257]).all()


def test_same_content_gives_same_bytes(tmp_path: Path):
    """Neither the cut into batches nor the time of writing shows in the file."""
    write_rows(tmp_path / "a.zarr.zip", 600, ARRAYS, batches(600), {"n": 1})
    write_rows(tmp_path / "b.zarr.zip", 600, ARRAYS, batches(1, 599), {"n": 1})

    assert (tmp_path / "a.zarr.zip").read_bytes() == (tmp_path / "b.zarr.zip").read_bytes()


def test_reading_a_range_reads_its_chunks_and_no_more(tmp_path: Path):
    """The count of rows read is what the range touches, not the shard."""
    path = tmp_path / "a.zarr.zip"
    write_rows(path, 10 * CHUNK_ROWS, ARRAYS, batches(10 * CHUNK_ROWS), {})

    with ShardRows(path) as rows:
        rows.read("x", CHUNK_ROWS, CHUNK_ROWS + 3)

        assert rows.rows_read == {"x": CHUNK_ROWS}


def test_wide_rows_have_shorter_chunks(tmp_path: Path):
    """A chunk is about a mebibyte, so that reading a few images does not decode thousands."""
    path, rows = tmp_path / "a.zarr.zip", 600
    arrays = {"x": RowArray((3, 32, 32), "float32"), "y": RowArray((), "int64")}
    x = np.arange(rows * 3072, dtype=np.float32).reshape(rows, 3, 32, 32)

    write_rows(path, rows, arrays, [{"x": x, "y": np.arange(rows)}], {})

    with ShardRows(path) as store:
        assert (store.read("x", 70, 72) == x[70:72]).all()
        assert store.rows_read == {"x": 64}
        assert [len(block["y"]) for block in store.blocks(["x", "y"])] == [64] * 9 + [24]


def test_zarr_reads_the_file(tmp_path: Path):
    """The file is a group of zarr's, of every type and shape of array that stages write."""
    rng, path, rows = np.random.default_rng(0), tmp_path / "a.zarr.zip", 9000
    arrays = {
        "image": rng.normal(size=(rows, 3, 4)).astype(np.float32),
        "x": rng.normal(size=(rows, 5)).astype(np.float32),
        "hash": rng.integers(0, 256, (rows, 32), dtype=np.uint8),
        "y": rng.integers(-1, 5, rows),
        "unit": rng.integers(0, 2**63, rows, dtype=np.uint64),
        "partition": rng.integers(-1, 5, rows, dtype=np.int32),
    }
    specs = {name: RowArray(each.shape[1:], str(each.dtype)) for name, each in arrays.items()}

    write_rows(path, rows, specs, [arrays], {"n": 1})

    group = zarr.open_group(ZipStore(path, mode="r"), mode="r")
    assert group.attrs["n"] == 1
    assert sorted(name for name, _ in group.arrays()) == sorted(arrays)
    for name, values in arrays.items():
        assert group[name].dtype == values.dtype
        assert (group[name][:] == values).all()


def test_a_lost_chunk_is_not_read_as_zeros(tmp_path: Path):
    """A file without one of its members is damaged."""
    path, cut = tmp_path / "a.zarr.zip", tmp_path / "b.zarr.zip"
    write_rows(path, 600, ARRAYS, batches(600), {})
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(cut, "w") as new:
        for name in old.namelist():
            if name != "y/c/0":
                new.writestr(name, old.read(name))

    with ShardRows(cut) as rows, pytest.raises(CorruptError, match="array 'y' does not read"):
        rows.read("y")


def test_fewer_rows_than_announced_leave_no_file(tmp_path: Path):
    """A writer that breaks its promise writes nothing."""
    with pytest.raises(ValueError, match="5 rows written, 6 announced"):
        write_rows(tmp_path / "a.zarr.zip", 6, ARRAYS, batches(5), {})

    assert list(tmp_path.iterdir()) == []


def test_a_missing_store_is_the_users_to_see(tmp_path: Path):
    """The message names the file."""
    with pytest.raises(SourceError, match=r"none\.zarr\.zip: no such file"):
        ShardRows(tmp_path / "none.zarr.zip")


def test_a_truncated_store_is_refused(tmp_path: Path):
    """Half a zip file is no store."""
    path = tmp_path / "a.zarr.zip"
    write_rows(path, 600, ARRAYS, batches(600), {})
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(CorruptError, match=r"a\.zarr\.zip: not a readable zarr zip file"):
        ShardRows(path)


def test_a_flipped_bit_is_found_when_it_is_read(tmp_path: Path):
    """A damaged chunk raises instead of returning other numbers."""
    path = tmp_path / "a.zarr.zip"
    write_rows(path, 600, ARRAYS, batches(600), {})
    content = bytearray(path.read_bytes())
    content[content.index(b"x/c/0/0") + 40] ^= 1
    path.write_bytes(bytes(content))

    with ShardRows(path) as rows, pytest.raises(CorruptError, match="array 'x' does not read"):
        rows.read("x")


def test_hashes_of_rows_are_made_from_what_is_stored(tmp_path):
    """A store has sources, keys and folds; any range of its rows reads with their hashes."""
    rng = np.random.default_rng(0)
    key, source = rng.integers(0, 256, (2, 50, 16), dtype=np.uint8)
    arrays = {"key": key, "source": source, "fold": np.arange(50, dtype=np.uint8) % 4}
    specs = {name: RowArray(each.shape[1:], str(each.dtype)) for name, each in arrays.items()}
    write_rows(tmp_path / "a.zarr.zip", 50, specs, [arrays], {"salt": "0f" * 16})

    with ShardRows(tmp_path / "a.zarr.zip") as store:
        found = store.read("hash", 10, 30)

    expected = row_hashes(source, arrays["fold"], [key], "0f" * 16)
    np.testing.assert_array_equal(found, expected[10:30])


def test_a_store_without_sources_has_no_hashes(tmp_path):
    """The file and the array are named."""
    write_rows(tmp_path / "a.zarr.zip", 0, {"x": RowArray((), "float32")}, [], {})

    with ShardRows(tmp_path / "a.zarr.zip") as store, pytest.raises(CorruptError, match="'hash'"):
        store.read("hash")


def test_an_array_of_no_numbers_per_row_is_read_as_it_was_written(tmp_path: Path):
    """As labels are where there are none; zarr opens the file too."""
    path, arrays = tmp_path / "a.zarr.zip", {**ARRAYS, "y": RowArray((0,), "float32")}
    rows = {"x": np.ones((5, 2), np.float32), "y": np.empty((5, 0), np.float32)}

    write_rows(path, 5, arrays, [rows], {})

    with ShardRows(path) as store:
        assert store.read("y", 1, 4).shape == (3, 0)
    assert zarr.open_group(ZipStore(path, mode="r"), mode="r")["y"].shape == (5, 0)
