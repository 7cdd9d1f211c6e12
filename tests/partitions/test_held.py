"""Validation rows by which trainings stop, in memory, in shards and in the index."""

import numpy as np
import pytest

from shoal.cluster.command import assign, cluster_fit, partition
from shoal.errors import DataError
from shoal.formats.kinds import TEST, TRAIN, VALIDATION
from shoal.partitions.held import HeldRows, HeldShards
from shoal.partitions.reader import Index, choosing_rows, halves, training_rows
from shoal.settings.discovery import ColumnPartition

COLUMN = ColumnPartition(method="column", column="colour", max_partitions=8, min_rows=1, seed=0)


@pytest.fixture
def indexed(tmp_path, shards):
    """Makes the index of rows where trainings stop early, or where they do not."""

    def run(rows, name="a", *, stops_early=True):
        files = shards.write(tmp_path, name, rows)
        assigner = tmp_path / "assigner.safetensors"
        if not assigner.exists():
            lists = [files.encoded], files.embedder, [files.table]
            cluster_fit(COLUMN, *lists, assigner, tmp_path / "ledger.json", 1)
        summary, store = tmp_path / f"{name}.json", tmp_path / "rows" / f"{name}.zarr.zip"
        out = (store, summary, tmp_path / f"{name}.safetensors")
        assign(files.encoded, files.embedder, files.table, assigner, name, *out, 1)
        path = tmp_path / "indexes" / f"{name}-{stops_early}" / "index.json"
        partition([summary], assigner, 1, "g", store.parent, path, stops_early=stops_early)
        return Index(path)

    return run


def choosing(rows, *, half=0):
    """Places of the validation rows of a half."""
    return np.flatnonzero((rows.fold == VALIDATION) & (halves({"key": rows.key}) == half))


def specialists(index):
    return [entry["specialist"] for entry in index.partitions]


def test_a_specialist_is_made_from_the_choosing_half_only_where_trainings_stop_early(
    indexed, shards
):
    """Its digest and its rows are those of training and choosing rows, or of training rows."""
    rows = shards.random_rows(300)
    early, plain = indexed(rows), indexed(rows, stops_early=False)

    assert specialists(plain) == [entry["digests"]["train"] for entry in plain.partitions]
    assert not set(specialists(early)) & set(specialists(plain))
    found = [training_rows(early, digest) for digest in specialists(early)]
    assert sum(len(train["y"]) for train, _ in found) == (rows.fold == TRAIN).sum()
    held = np.concatenate([own["x"] for _, own in found])
    assert {x.tobytes() for x in held} == {x.tobytes() for x in rows.x[choosing(rows)]}
    assert training_rows(plain, specialists(plain)[0])[1] == {}


@pytest.mark.parametrize(("fold", "half", "changed"), [(1, 0, 1), (1, 1, 0), (TEST, 0, 0)])
def test_a_row_of_the_choosing_half_changes_one_specialist(fold, half, changed, indexed, shards):
    """No other row that is not trained on changes any."""
    rows = shards.random_rows(300)
    places = choosing(rows, half=half) if fold == VALIDATION else np.flatnonzero(rows.fold == fold)

    before, after = indexed(rows), indexed(rows[np.delete(np.arange(300), places[0])], "b")

    pairs = zip(specialists(before), specialists(after), strict=True)
    assert sum(one != other for one, other in pairs) == changed


def test_a_store_whose_choosing_rows_were_changed_is_an_error(indexed, shards):
    """They are checked against the digest as training rows are."""
    rows = shards.random_rows(300)
    index = indexed(rows)
    rows.y[choosing(rows)[0]] ^= 1
    other = indexed(rows, "b")
    index.store("a").write_bytes(other.store("b").read_bytes())

    (spoilt,) = (
        one
        for one, other in zip(specialists(index), specialists(other), strict=True)
        if one != other
    )
    with pytest.raises(DataError, match="a row store was changed"):
        training_rows(index, spoilt)


@pytest.mark.parametrize("most", [0, 1000])
def test_shards_give_the_choosing_half_each_time(most, tmp_path, shards):
    """Kept in memory or read again, the rows are the same and in the same order."""
    parts = [shards.random_rows(300, seed) for seed in (0, 1)]
    paths = [shards.write(tmp_path, str(n), rows).encoded for n, rows in enumerate(parts)]

    held = HeldShards(paths, most)

    wanted = np.concatenate([rows.x[choosing(rows)] for rows in parts])
    assert len(held) == len(wanted)
    for _ in range(2):
        found = np.concatenate([block["x"] for block in held.blocks()])
        np.testing.assert_array_equal(found, wanted)


def test_rows_in_memory_are_halved_by_unit():
    """Rows of a unit are all held, or none is."""
    rows = {
        "x": np.arange(8.0, dtype=np.float32)[:, None],
        "y": np.arange(8),
        "key": np.arange(8, dtype=np.uint8)[:, None].repeat(16, axis=1),
        "unit": np.array([2, 2, 2, 2, 3, 3, 3, 3], np.uint64),
    }

    assert choosing_rows(rows)["y"].tolist() == [0, 1, 2, 3]
    assert choosing_rows({}) == {}
    assert len(HeldRows({})) == 0
    assert not list(HeldRows({}).blocks())
