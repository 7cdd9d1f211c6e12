"""Rows of a release in blocks."""

import hashlib
import json

import numpy as np
import pytest

from shoal.errors import SettingsError, SourceError
from shoal.explore.intermediates.rows import MOST_ROWS, ReleaseRows
from shoal.formats.row_store import RowArray, write_rows
from shoal.partitions.reader import Index


def bits(*words):
    """32 bytes that stand for words."""
    return np.frombuffer(hashlib.sha256(repr(words).encode()).digest(), np.uint8)


@pytest.fixture
def release(tmp_path):
    """Makes the rows of a release from, for each shard, how many each partition and fold has."""

    def make(name, shards):
        folder = tmp_path / name
        members = {-1: {f: [] for f in FOLDS}}
        for shard, groups in shards.items():
            rows, at = [], 0
            for (partition, fold), count in groups.items():
                folds = members.setdefault(partition, {f: [] for f in FOLDS})
                folds[fold].append([shard, at, at + count])
                rows += [(shard, partition, fold, number) for number in range(count)]
                at += count
            write(folder / "rows" / f"{shard}.zarr.zip", rows)
        for partition, folds in members.items():
            path = folder / "members" / f"{partition}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(folds))
        numbers = [number for number in members if number >= 0]
        content = {"stores": "rows", "partitions": [{"partition": n} for n in numbers]}
        return ReleaseRows(Index(folder / "index.json", content))

    return make


FOLDS = ("train", "validation", "test", "outside")


def write(path, rows):
    """A row store whose rows have keys and hashes of their own."""
    arrays = {
        "x": np.arange(2 * len(rows), dtype=np.float32).reshape(-1, 2),
        "y": np.zeros(len(rows), np.int64),
        "key": np.stack([bits("key", row)[:16] for row in rows]),
        "hash": np.stack([bits("hash", row) for row in rows]),
        "fold": np.array([FOLDS.index(row[2]) for row in rows], np.uint8),
        "partition": np.array([row[1] for row in rows], np.int32),
    }
    specs = {name: RowArray(each.shape[1:], str(each.dtype)) for name, each in arrays.items()}
    write_rows(path, len(rows), specs, [arrays], {})


TWO = {
    "a": {(-1, "train"): 3, (0, "train"): 1500, (0, "test"): 20, (1, "train"): 40},
    "b": {(0, "train"): 30, (1, "test"): 10},
}


def test_blocks_cover_every_row_once(release):
    """All rows are in some block of one partition in one shard, none in two."""
    rows = release("r", TWO)
    blocks = rows.blocks("all")

    places = np.concatenate([block.order for block in blocks])
    assert len(places) == len(set(places.tolist())) == 1603
    assert max(map(len, blocks)) == MOST_ROWS
    assert [(b.shard, b.partition, len(b)) for b in rows.blocks("own", 1)] == [
        ("a", 1, 40),
        ("b", 1, 10),
    ]
    assert {len(rows.read(block, "x")) == len(block) for block in blocks} == {True}


def test_a_specialists_blocks_are_those_of_everything(release):
    """Blocks of a partition are among all, so what models share there has one address."""
    rows = release("r", TWO)
    everything = {block.address for block in rows.blocks("all")}

    assert {block.address for block in rows.blocks("own", 0)} < everything
    assert len(everything) == len(rows.blocks("all"))


def test_a_change_elsewhere_leaves_a_blocks_address(release):
    """An address depends on the rows of the block alone, not on shards or other partitions."""
    before = {b.address for b in release("r", TWO).blocks("own", 1)}
    shards = {
        "a": {(0, "train"): 7, (1, "train"): 40},
        "b": {(0, "train"): 30, (1, "test"): 11},
        "c": {(0, "train"): 5},
    }
    after = {b.address for b in release("s", shards).blocks("own", 1)}

    assert len(before & after) == 1


def test_a_sample_is_drawn_by_keys(release):
    """A sample has as many rows as asked for, and a smaller one is part of a larger one."""
    rows = release("r", TWO)

    def keys(choice):
        return {key.tobytes() for block in rows.blocks(choice) for key in rows.read(block, "key")}

    assert len(keys("100")) == 100
    assert keys("30") < keys("100") < keys("all") == keys("5000")


def test_blocks_that_follow_each_other_are_read_at_once(release):
    """Rows of several blocks come in the blocks' order, a sample's too."""
    rows = release("r", TWO)
    for choice in ("all", "200"):
        blocks = rows.blocks(choice)[::-1]
        expected = np.concatenate([rows.read(block, "x") for block in blocks])
        assert np.array_equal(rows.read_all(blocks, "x"), expected)


def test_a_row_is_found_by_its_key(release):
    """Any row is found, and described as it is."""
    rows = release("r", TWO)
    key = bits("key", ("b", 0, "train", 12))[:16]

    block, at = rows.find(key.tobytes())
    (row,) = rows.described(block.order[[at]])

    assert row.key == key.tobytes().hex()
    assert (row.shard, row.partition, row.fold) == ("b", 0, "train")
    with pytest.raises(SourceError, match=r"key 0{32}: no row of this release has it"):
        rows.find(bytes(16))


def test_rows_that_are_gone_are_named(release, tmp_path):
    """Where garbage collection has removed a row store, the message says so."""
    rows = release("r", TWO)
    (tmp_path / "r" / "rows" / "b.zarr.zip").unlink()

    with pytest.raises(SourceError, match=r"b\.zarr\.zip: not there, `shoal gc` removes"):
        rows.blocks("all")


@pytest.mark.parametrize("choice", ["0", "-3", "some", ""])
def test_a_choice_of_rows_that_is_none_is_named(release, choice):
    """The message says what there is to choose from."""
    with pytest.raises(SettingsError, match=f"rows '{choice}': choose own, all, or how many"):
        release("r", TWO).blocks(choice)
