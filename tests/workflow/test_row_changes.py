"""Rows that came and went between two releases, and the files that they were in."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shoal.formats.row_store import RowArray, write_rows
from shoal.operate.row_changes import RowChanges
from shoal.partitions.grouping import groups
from shoal.plan.layout import Layout

STAGES = ("split", "transform", "encode", "embed", "cluster")


def layout(root: Path, *shards: str) -> Layout:
    ids = dict.fromkeys(STAGES, "id")
    return Layout(
        str(root), str(root), "g1", ids, ids, shards, (), "index", "release", refreshed=False
    )


def assigned(where: Layout, shard: str, *rows: int) -> None:
    """Write a shard of training rows in partition 0, each known by a number."""
    hashes = np.zeros((len(rows), 32), dtype=np.uint8)
    hashes[:, 0] = sorted(rows)
    store = where.file("assign.rows", shard=shard)
    arrays = {"hash": RowArray((32,), "uint8")}
    write_rows(store, len(rows), arrays, [{"hash": hashes}], {})
    places = np.zeros(len(rows), dtype=np.int32), np.zeros(len(rows), dtype=np.uint8)
    summary = {"shard": shard, "groups": groups(*places, hashes), "asked": [], "choosing": []}
    summary["unknown_labels"] = 0
    where.file("assign.summary", shard=shard).parent.mkdir(parents=True, exist_ok=True)
    where.file("assign.summary", shard=shard).write_text(json.dumps(summary))


@pytest.fixture
def before(tmp_path: Path) -> Layout:
    release = layout(tmp_path, "a", "b")
    assigned(release, "a", 1, 2, 3)
    assigned(release, "b", 4, 5)
    return release


def changes(before: Layout, *shards: str) -> RowChanges:
    after = replace(before, shards=shards)
    return RowChanges(before, after, {shard: Path(f"{shard}.csv") for shard in shards})


def test_an_edited_row_is_one_that_came_and_one_that_went(before: Layout):
    """Rows are compared by content, whatever shard they are in."""
    assigned(before, "c", 1, 2, 9)

    assert changes(before, "b", "c").count(0, "train") == (1, 1)


def test_rows_that_move_to_another_file_are_no_change(before: Layout):
    """Only the multiset of rows counts."""
    assigned(before, "c", 3, 4)
    assigned(before, "d", 1, 2, 5)

    assert changes(before, "c", "d").count(0, "train") == (0, 0)


def test_rows_of_a_new_file_are_counted_without_reading_them(before: Layout):
    """Where nothing went, the summaries say how many came."""
    assigned(before, "c", 6, 7)
    before.file("assign.rows", shard="c").unlink()

    assert changes(before, "a", "b", "c").count(0, "train") == (2, 0)


def test_rows_that_are_no_longer_kept_give_no_count(before: Layout):
    """Unknown is said, not guessed."""
    assigned(before, "c", 1)
    before.file("assign.rows", shard="a").unlink()

    assert changes(before, "b", "c").count(0, "train") is None


def test_a_file_that_did_not_touch_a_partition_is_not_named_for_it(before: Layout):
    """A file whose rows of a partition are the same is no reason, even if its shard is another."""
    assigned(before, "c", 6)
    found = changes(before, "a", "b", "c")

    assert [file.path for file in found.files_of(0, ["train"])] == ["c.csv"]
    assert found.files_of(0, ["test"]) == []
    assert [file.kind for file in found.files] == ["added"]


def test_other_code_with_the_same_rows_is_no_change(before: Layout):
    """Shards that other code made are compared by what they hold."""
    after = replace(before, made={**before.made, "cluster": "other"})
    assigned(after, "a", 1, 2, 3)
    assigned(after, "b", 4, 6)

    found = RowChanges(before, after, {"a": Path("a.csv"), "b": Path("b.csv")})

    assert found.count(0, "train") == (1, 1)
    assert found.files == []
