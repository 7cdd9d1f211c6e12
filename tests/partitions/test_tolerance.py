"""Partitions that wait until changes add up."""

import numpy as np
import pytest

from shoal.cluster.command import assign, cluster_fit, partition
from shoal.formats.kinds import VALIDATION
from shoal.partitions.reader import Index, halves
from shoal.settings.discovery import ColumnPartition

COLUMN = ColumnPartition(method="column", column="colour", max_partitions=8, min_rows=1, seed=0)


@pytest.fixture
def indexed(tmp_path, shards):
    """Makes an index of rows, with changes tolerated since an earlier one."""
    assigner = tmp_path / "assigner.safetensors"

    def run(name, rows, share=0.0, before=None, released=(), *, stops_early=False):
        files = shards.write(tmp_path, name, rows)
        if not assigner.exists():
            lists = [files.encoded], files.embedder, [files.table]
            cluster_fit(COLUMN, *lists, assigner, tmp_path / "ledger.json", 1)
        summary, store = tmp_path / f"{name}.json", tmp_path / "rows" / f"{name}.zarr.zip"
        out = (store, summary, tmp_path / f"{name}.safetensors")
        assign(files.encoded, files.embedder, files.table, assigner, name, *out, 1)
        path = tmp_path / "indexes" / name / "index.json"
        since = before.path if before else None
        partition(
            [summary], assigner, 1, "lineage", store.parent, path, share, since, released,
            stops_early=stops_early,
        )  # fmt: skip
        return Index(path)

    return run


def waiting(index):
    return [int(entry["partition"]) for entry in index.partitions if "waiting" in entry]


@pytest.fixture
def rows(shards):
    return shards.as_training(shards.random_rows(200))


def test_a_small_change_waits_with_the_specialist_that_is_there(indexed, rows):
    """Within the tolerance a partition keeps its specialist, and the index counts the change."""
    before = indexed("before", rows)

    after = indexed("after", rows[1:], 0.1, before)

    (number,) = waiting(after)
    old, new = before.partitions[number], after.partitions[number]
    assert new["specialist"] == old["digests"]["train"] != new["digests"]["train"]
    assert (new["waiting"]["added"], new["waiting"]["removed"]) == (0, 1)


def test_changes_add_up_until_they_exceed_the_share(indexed, rows):
    """The change is counted against the rows of the specialist, not against the last index."""
    size = Index(indexed("before", rows).path).partitions
    number = max(size, key=lambda entry: entry["rows"]["train"])["partition"]
    share = 3.5 / size[number]["rows"]["train"]
    index, states = Index(indexed("first", rows).path), []
    values = index.read(number, "train", ("key",))["key"]
    for gone in range(1, 5):
        lost = {key.tobytes() for key in values[:gone]}
        kept = rows[[key.tobytes() not in lost for key in rows.key]]
        index = indexed(f"without-{gone}", kept, share, index)
        states.append(number in waiting(index))

    assert states == [True, True, True, False]


def test_without_tolerance_nothing_waits(indexed, rows):
    """A share of nought trains at the first changed row."""
    assert waiting(indexed("after", rows[1:], 0.0, indexed("before", rows))) == []


def test_a_released_partition_does_not_wait(indexed, rows):
    """What the drift report released trains although its change is small."""
    before = indexed("before", rows)
    (number,) = waiting(indexed("after", rows[1:], 0.1, before))

    assert waiting(indexed("again", rows[1:], 0.1, before, (number,))) == []


def test_a_waiting_partition_reads_the_rows_of_its_specialist(indexed, rows):
    """A new grid point of a waiting partition trains on the rows that the others saw."""
    before = indexed("before", rows)
    after = indexed("after", rows[1:], 0.1, before)
    (number,) = waiting(after)

    held = after.specialist_rows(number, ("x",))[0]["x"]

    assert (held == before.read(number, "train", ("x",))["x"]).all()


def test_what_waits_changes_the_root_of_all_rows(indexed, rows):
    """Specialists and router stay, so their root does; the evaluation sees other rows."""
    before = indexed("before", rows)
    after = indexed("after", rows[1:], 0.1, before)

    assert after.content["root"]["fit"] == before.content["root"]["fit"]
    assert after.content["root"]["all"] != before.content["root"]["all"]


def test_where_trainings_stop_early_validation_rows_count_as_changes(indexed, shards):
    """A specialist that is made from them waits while few of them have changed, not when many."""
    rows = shards.random_rows(300)
    held = np.flatnonzero((rows.fold == VALIDATION) & (halves({"key": rows.key}) == 0))
    before = indexed("before", rows, stops_early=True)
    few, many = (np.delete(np.arange(len(rows)), held[:count]) for count in (3, len(held)))

    for name, left, waits in (("few", few, True), ("many", many, False)):
        after = indexed(name, rows[left], 0.05, before, stops_early=True)
        changed = {
            int(new["partition"])
            for old, new in zip(before.partitions, after.partitions, strict=True)
            if old["digests"]["validation"] != new["digests"]["validation"]
        }
        assert bool(changed & set(waiting(after))) == waits
