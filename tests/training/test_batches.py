"""Batches of training rows in a seeded order."""

import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from shoal.formats.kinds import TEST, TRAIN
from shoal.formats.row_store import RowArray, write_rows
from shoal.training.batches import MemoryRows, RowStream


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    """Two shards of 3,000 rows; even rows are in the training fold. y numbers all rows."""
    paths = []
    for shard in range(2):
        y = np.arange(3000) + 3000 * shard
        fold = np.where(y % 2 == 0, TRAIN, TEST).astype(np.uint8)
        path = tmp_path / f"{shard}.zarr.zip"
        specs = {"y": RowArray((), "int64"), "fold": RowArray((), "uint8")}
        write_rows(path, 3000, specs, [{"y": y, "fold": fold}], {})
        paths.append(path)
    return paths


def seen(stream: RowStream | MemoryRows) -> list[int]:
    return [int(row) for (batch,) in stream for row in batch]


@pytest.mark.parametrize("buffer_rows", [100, 2500, 100_000])
def test_one_pass_visits_each_training_row_once(shards: list[Path], buffer_rows: int):
    """Whatever fits into the buffer, a pass leaves none out and takes none twice."""
    stream = RowStream(shards, ("y",), 100, 30, buffer_rows, seed=0)

    assert sorted(seen(stream)) == list(range(0, 6000, 2))


def test_the_order_is_seeded(shards: list[Path]):
    """The same seed visits rows in the same order, another in another."""
    orders = [seen(RowStream(shards, ("y",), 100, 30, 1000, seed)) for seed in (0, 0, 1)]

    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


def test_every_batch_is_full(shards: list[Path]):
    """Rows left over from one pass begin the next: no short batch, exactly the asked steps."""
    stream = RowStream(shards, ("y",), 700, 9, 1000, seed=0)

    assert [len(batch) for (batch,) in stream] == [700] * 9


def test_passes_are_shuffled_anew():
    """A second pass over rows in memory has another order, and again every row."""
    rows = seen(MemoryRows((np.arange(64),), 8, 16, seed=0))

    assert rows[:64] != rows[64:]
    assert set(Counter(rows).values()) == {2}


def test_a_batch_is_never_larger_than_the_data():
    """Fewer rows than a batch make a batch of all rows."""
    stream = MemoryRows((np.arange(5),), 8, 3, seed=0)

    assert stream.batch_size == 5
    assert [len(batch) for (batch,) in stream] == [5, 5, 5]


@pytest.mark.parametrize("buffer_rows", [100, 2500, 100_000])
@pytest.mark.parametrize("start", [1, 13, 29, 30, 47, 64])
def test_a_stream_starts_at_any_batch(shards: list[Path], buffer_rows: int, start: int):
    """The batches from a later start are the ones that come there from the beginning."""
    stream = RowStream(shards, ("y",), 70, 64, buffer_rows, seed=0)
    rows = seen(stream)

    stream.start = start

    assert seen(stream) == rows[70 * start :]
    assert seen(stream) == rows


@pytest.mark.parametrize("start", [0, 1, 7, 8, 15])
def test_rows_in_memory_start_at_any_batch(start: int):
    """Rows left over from a pass that is left out begin the first batch."""
    stream = MemoryRows((np.arange(61),), 8, 16, seed=0)
    rows = seen(stream)

    stream.start = start

    assert seen(stream) == rows[8 * start :]


def test_what_lies_before_the_start_is_not_read(
    shards: list[Path], monkeypatch: pytest.MonkeyPatch
):
    """A late start reads the buffer it lies in, and the one whose rest begins it."""
    stream = RowStream(shards, ("y",), 70, 400, 1000, seed=0)
    read = []
    blocks = stream._read
    monkeypatch.setattr(stream, "_read", lambda *block: read.append(block) or blocks(*block))

    stream.start = 399

    assert len(seen(stream)) == 70
    assert 0 < len(read) < len(stream._blocks())


def test_a_pass_over_rows_in_memory_copies_a_part_of_them_at_a_time():
    """Three passes over 100,000 rows hold less than a third of their 16 MB beside them."""
    rows = MemoryRows((np.ones((100_000, 20)),), 64, 4500, seed=0)

    tracemalloc.start()
    for _ in rows:
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < rows.held / 3
