"""Batches of training rows in a seeded order."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from shoal.store import RowArray, write_rows
from shoal.streaming import MemoryRows, RowStream
from shoal.tables import TEST, TRAIN


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
