"""Row-aligned arrays of a shard in a zarr zip file."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shoal.errors import CorruptError, SourceError
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
