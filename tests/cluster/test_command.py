"""The commands cluster-fit, assign and partition."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from shoal.cluster.assigner import load_assigner
from shoal.cluster.command import assign, cluster_fit, partition
from shoal.errors import DataError
from shoal.formats.fitted_state import load_state
from shoal.formats.kinds import TEST, TRAIN, VALIDATION
from shoal.formats.row_store import ShardRows
from shoal.partitions.index import asked_name
from shoal.partitions.reader import Index, halves
from shoal.settings.discovery import ColumnPartition, KMeansAtoms

KMEANS = KMeansAtoms(
    method="kmeans",
    partitions=4,
    max_partitions=6,
    atoms=16,
    lower=0.5,
    upper=2.0,
    fit_rows=10_000,
    min_rows=1,
    seed=0,
)
COLUMN = ColumnPartition(method="column", column="colour", max_partitions=8, min_rows=1, seed=0)
NAMES = ("x", "y", "key", "hash", "fold", "partition", "runner_up")


@pytest.fixture
def chain(tmp_path, shards):
    """Runs the whole of cluster on shards and says where everything lies."""

    def run(parts, settings=KMEANS, assigner=None, folder="run", groups=None):
        root = tmp_path / folder
        units = groups or {}
        files = {n: shards.write(root, n, rows, units.get(n)) for n, rows in parts.items()}
        if assigner is None:
            assigner = root / "assigner.safetensors"
            rows, tables = ([getattr(f, c) for f in files.values()] for c in ("encoded", "table"))
            embedder, ledger = root / "embedder.safetensors", root / "ledger.json"
            cluster_fit(settings, rows, embedder, tables, assigner, ledger, 1)
        summaries = []
        for name, f in files.items():
            summaries.append(root / "summary" / f"{name}.json")
            out = (root / "rows" / f"{name}.zarr.zip", summaries[-1], distances(root, name))
            by_group = groups is not None
            assign(f.encoded, f.embedder, f.table, assigner, name, *out, 1, by_group=by_group)
        merge(summaries, assigner, root)
        return SimpleNamespace(
            root=root,
            assigner=assigner,
            summaries=summaries,
            index=json.loads((root / "index.json").read_text()),
        )

    return run


def merge(summaries, assigner, root):
    """The index of summaries, in a folder with their row stores."""
    partition(summaries, assigner, 1, "g1", root / "rows", root / "index.json")


def distances(root, name):
    return root / "distances" / f"{name}.safetensors"


def read_rows(root, name):
    with ShardRows(root / "rows" / f"{name}.zarr.zip") as rows:
        return {array: rows.read(array) for array in NAMES} | {"attributes": rows.attributes}


def members(root, number):
    return json.loads((root / "members" / f"{number}.json").read_text())


def test_every_row_gets_a_partition(chain, shards):
    """Rows in are rows out: each once, with its own content, and with a partition."""
    rows = shards.random_rows(500)

    done = chain({"a": rows[:300], "b": rows[300:]})

    written = [read_rows(done.root, name) for name in "ab"]
    hashes = np.concatenate([part["hash"] for part in written])
    assert sorted(h.tobytes() for h in hashes) == sorted(h.tobytes() for h in rows.hash)
    assert min(part["partition"].min() for part in written) >= 0
    assert sum(part["attributes"]["rows_in"] for part in written) == 500
    assert sum(done.index["rows"].values()) == 500


def test_arrays_of_a_row_stay_together(chain, shards):
    """Grouping moves whole rows: inputs, label, fold and key follow the row."""
    rows = shards.random_rows(200)

    written = read_rows(chain({"a": rows}).root, "a")

    place = {h.tobytes(): n for n, h in enumerate(rows.hash)}
    order = [place[h.tobytes()] for h in written["hash"]]
    for name in ("x", "y", "key", "fold"):
        np.testing.assert_array_equal(written[name], getattr(rows, name)[order])


def test_partition_of_a_row_is_the_assigners(chain, shards):
    """The partition that is written is the one that the assigner gives the embedding."""
    done = chain({"a": shards.random_rows(200)})
    written = read_rows(done.root, "a")

    expected = load_assigner(done.assigner).assign(written["x"])

    np.testing.assert_array_equal(written["partition"], expected)
    assert len(set(expected.tolist())) == 4


def test_members_lead_to_the_rows(chain, shards):
    """The ranges in ``members`` hold exactly the rows of their partition and fold."""
    rows = shards.random_rows(400)
    done = chain({"a": rows[:150], "b": rows[150:]})

    found = 0
    for number in range(-1, 4):
        for code, fold in enumerate(("train", "validation", "test", "outside")):
            for shard, start, stop in members(done.root, number)[fold]:
                written = read_rows(done.root, shard)
                assert set(written["partition"][start:stop]) == {number}
                assert set(written["fold"][start:stop]) == {code}
                found += stop - start

    assert found == 400


def test_the_runner_up_is_the_second_nearest_partition(chain, shards):
    """Of validation and test rows; others, and rows partitioned by column, have none."""
    rows = shards.random_rows(300)
    done = chain({"a": rows})
    written = read_rows(done.root, "a")

    distance = load_assigner(done.assigner).distances_to_partitions(written["x"])

    second = np.argsort(distance, axis=1, kind="stable")[:, 1]
    is_asked = np.isin(written["fold"], [VALIDATION, TEST])
    assert is_asked.any()
    np.testing.assert_array_equal(written["runner_up"], np.where(is_asked, second, -1))
    by_column = chain({"a": rows}, COLUMN, folder="column")
    assert set(read_rows(by_column.root, "a")["runner_up"]) == {-1}


@pytest.mark.parametrize("settings", [KMEANS, COLUMN])
def test_rows_of_a_group_are_placed_as_the_one_with_the_smallest_key(chain, shards, settings):
    """Partition, runner-up and distance, though alone they would have others."""
    rows = shards.random_rows(300)
    group = rows.fold * np.uint64(100) + np.random.default_rng(0).integers(0, 9, 300, np.uint64)

    done = chain({"a": rows}, settings, groups={"a": group})

    alone = chain({"a": rows}, settings, assigner=done.assigner, folder="alone")
    own = {row["key"].tobytes(): row for row in by_row(alone.root, "a")}
    assert len(own) == 300
    keys = [key.tobytes() for key in rows.key]
    lead = {name: min(np.array(keys, object)[group == name]) for name in set(group.tolist())}
    led = {key: own[lead[name]] for key, name in zip(keys, group.tolist(), strict=True)}
    moved = 0
    for row in by_row(done.root, "a"):
        key = row["key"].tobytes()
        assert (row["partition"], row["runner_up"]) == (
            led[key]["partition"],
            led[key]["runner_up"],
        )
        moved += row["partition"] != own[key]["partition"]
    assert moved > 50
    with ShardRows(done.root / "rows" / "a.zarr.zip") as store:
        place = {key.tobytes(): n for n, key in enumerate(store.read("key"))}
        x, held = store.read("x"), store.read("fold") == VALIDATION
        leads = [place[lead[name]] for name in store.read("unit")[held].tolist()]
    if settings is KMEANS:
        nearest = load_assigner(done.assigner).nearest(x[leads])[2]
        np.testing.assert_array_equal(load_state(distances(done.root, "a"))[0]["distance"], nearest)


def by_row(root, name):
    """Arrays of each row."""
    arrays = read_rows(root, name)
    return [{name: arrays[name][row] for name in NAMES} for row in range(len(arrays["y"]))]


def test_a_row_of_a_larger_key_joins_its_group_and_one_of_a_smaller_leads_it(chain, shards):
    """So the first changes one digest, the second takes the whole group elsewhere."""
    rows = shards.as_training(shards.random_rows(300))
    group = np.repeat(np.arange(60, dtype=np.uint64), 5)
    before = chain({"a": rows}, groups={"a": group})
    assigner = load_assigner(before.assigner)
    first = [key.tobytes() for key in rows.key[:5]]
    home = int(assigner.assign(rows.x[first.index(min(first))][None])[0])
    others = shards.as_training(shards.random_rows(300, seed=4))
    elsewhere = assigner.assign(others.x) != home

    def changed(leads):
        is_smaller = np.array([key.tobytes() < min(first) for key in others.key])
        new = np.flatnonzero(elsewhere & (is_smaller == leads))[:1]
        after = chain(
            {"a": shards.joined(rows, others[new])},
            assigner=before.assigner,
            folder=f"after-{leads}",
            groups={"a": np.append(group, np.uint64(0))},
        )
        pairs = zip(before.index["partitions"], after.index["partitions"], strict=True)
        moved = {
            old["partition"]: now["rows"]["train"] - old["rows"]["train"]
            for old, now in pairs
            if old["digests"] != now["digests"]
        }
        return moved, int(assigner.assign(others.x[new])[0])

    assert changed(leads=False)[0] == {home: 1}
    moved, there = changed(leads=True)
    assert moved == {home: -5, there: 6}


def test_members_lead_to_the_rows_elsewhere_that_a_specialist_is_asked_about(chain, shards):
    """Read through the index, they are all rows of this fold with this runner-up, once."""
    rows = shards.random_rows(600)
    done = chain({"a": rows[:250], "b": rows[250:]})
    written = [read_rows(done.root, name) for name in "ab"]
    pairs = [zip(part["hash"], part["x"], strict=True) for part in written]
    x = {h.tobytes(): row.tobytes() for pair in pairs for h, row in pair}
    index, counts = Index(done.root / "index.json"), []

    for number in range(4):
        for fold, code in (("validation", VALIDATION), ("test", TEST)):
            found = index.read(number, asked_name(fold), ("x", "partition"))
            hashes = [
                h.tobytes()
                for part in written
                for h in part["hash"][(part["runner_up"] == number) & (part["fold"] == code)]
            ]
            assert [h.tobytes() for h in found.get("hash", [])] == sorted(hashes)
            assert number not in found.get("partition", [])
            assert [row.tobytes() for row in found.get("x", [])] == [x[h] for h in sorted(hashes)]
            counts.append(len(hashes))
    assert sum(counts) == sum((part["runner_up"] >= 0).sum() for part in written)


def test_distances_are_of_the_validation_rows(chain, shards):
    """To the nearest prototype, with the half that chooses or fits; in any order."""
    rows = shards.random_rows(400)
    done = chain({"a": rows[:150], "b": rows[150:]})

    for name in "ab":
        written, (found, _) = read_rows(done.root, name), load_state(distances(done.root, name))
        own = written["fold"] == VALIDATION
        nearest = load_assigner(done.assigner).nearest(written["x"][own])[2]
        pairs = zip(nearest, halves({"key": written["key"][own]}), strict=True)
        assert sorted(zip(found["distance"], found["half"], strict=True)) == sorted(pairs)


def test_training_partitions_keep_the_bounds(chain, shards):
    """Every partition's training rows lie within the bounds that the assigner keeps."""
    done = chain({"a": shards.random_rows(800)})

    bounds = load_assigner(done.assigner).bounds

    counts = [entry["rows"]["train"] for entry in done.index["partitions"]]
    assert bounds.lower <= min(counts)
    assert max(counts) <= bounds.upper


def test_assigner_does_not_depend_on_shards(chain, shards):
    """The same rows in other shards and order fit the same assigner and make the same index."""
    rows = shards.random_rows(400)
    shuffled = rows[np.random.default_rng(1).permutation(400)]

    one = chain({"a": rows}, folder="one")
    two = chain({"p": shuffled[:77], "q": shuffled[77:300], "r": shuffled[300:]}, folder="two")

    assert one.assigner.read_bytes() == two.assigner.read_bytes()
    assert one.index == two.index


def test_files_are_the_same_for_rows_in_another_order(chain, shards):
    """A shard's file and summary do not depend on the order of its rows."""
    rows = shards.random_rows(300)
    order = np.random.default_rng(1).permutation(300)

    one = chain({"a": rows}, folder="one")
    two = chain({"a": rows[order]}, folder="two")

    for name in ("rows/a.zarr.zip", "summary/a.json", "members/0.json", "distances/a.safetensors"):
        assert (one.root / name).read_bytes() == (two.root / name).read_bytes()


def test_order_of_summaries_does_not_matter(chain, shards, tmp_path):
    """The index and the members are the same for summaries in any order."""
    rows = shards.random_rows(300)
    done = chain({name: rows[n::5] for n, name in enumerate("abcde")})

    merge(done.summaries[::-1], done.assigner, tmp_path / "again")

    for name in ("index.json", "members/0.json"):
        assert (tmp_path / "again" / name).read_bytes() == (done.root / name).read_bytes()


def test_appending_a_row_changes_one_partition(chain, shards):
    """With the assigner frozen, a new training row changes one training digest, no other."""
    rows = shards.random_rows(400)
    new = shards.as_training(shards.random_rows(1, seed=9))
    before = chain({"a": rows})

    after = chain({"a": rows, "b": new}, assigner=before.assigner, folder="after")

    changed = [
        (old["partition"], fold)
        for old, now in zip(before.index["partitions"], after.index["partitions"], strict=True)
        for fold in ("train", "validation", "test")
        if old["digests"][fold] != now["digests"][fold]
    ]
    home = int(load_assigner(before.assigner).assign(new.embedding)[0])
    assert changed == [(home, "train")]


def test_column_is_the_partition(chain, shards):
    """By column, each row is in its value's partition; unseen and missing values are in none."""
    rows = shards.random_rows(300)
    rows.colour[np.flatnonzero(rows.fold != TRAIN)[:5]] = "violet"
    rows.colour[np.flatnonzero(rows.fold == TRAIN)[:3]] = None

    done = chain({"a": rows}, COLUMN)
    written = read_rows(done.root, "a")

    values = load_assigner(done.assigner).values
    colour = {h.tobytes(): c for h, c in zip(rows.hash, rows.colour, strict=True)}
    expected = [
        values.index(c) if (c := colour[h.tobytes()]) in values else -1 for h in written["hash"]
    ]
    assert written["partition"].tolist() == expected
    assert (written["partition"] == -1).sum() == 8
    assert done.index["untrained_rows"]["train"] == 3
    assert sum(done.index["rows"].values()) == 300


def test_empty_shard_is_assigned(chain, shards):
    """A shard without rows has an empty store and a summary without groups."""
    rows = shards.random_rows(100)

    done = chain({"a": rows, "empty": rows[:0]})

    summary = json.loads(done.summaries[1].read_text())
    assert (summary["shard"], summary["rows"], summary["groups"]) == ("empty", 0, [])
    assert len(read_rows(done.root, "empty")["hash"]) == 0


def test_table_of_other_data_is_an_error(chain, shards, tmp_path):
    """A table whose rows are not the encoded ones is named."""
    rows = shards.random_rows(50)
    done = chain({"a": rows}, COLUMN)
    files = shards.write(tmp_path / "more", "b", rows)
    other = shards.write(tmp_path / "other", "b", rows[::-1])

    with pytest.raises(DataError, match=r"b\.parquet: its rows are not those of its encoded shard"):
        assign(
            files.encoded,
            files.embedder,
            other.table,
            done.assigner,
            "b",
            tmp_path / "r.zarr.zip",
            tmp_path / "s.json",
            tmp_path / "d.safetensors",
            1,
        )

    assert not (tmp_path / "s.json").exists()


def test_infinite_embedding_is_not_assigned(chain, shards, tmp_path):
    """An embedding that is not finite is an error that names its row, and nothing is written."""
    rows = shards.random_rows(50)
    done = chain({"a": rows})
    rows.x[3, 0] = np.nan
    files = shards.write(tmp_path / "more", "b", rows)
    out = (tmp_path / "r.zarr.zip", tmp_path / "s.json", tmp_path / "d.safetensors")

    with pytest.raises(DataError, match=r"b\.zarr\.zip: the embedding of row 4 is not finite"):
        assign(files.encoded, files.embedder, files.table, done.assigner, "b", *out, 1)

    assert not any(path.exists() for path in out)


def test_fitting_counts_its_flops(chain, shards):
    """The ledger of the fit has its rows and FLOPs."""
    rows = shards.random_rows(100)

    ledger = json.loads((chain({"a": rows}).root / "ledger.json").read_text())

    assert ledger["job"] == "cluster_fit"
    assert ledger["rows_read"] == (rows.fold == TRAIN).sum()
    assert ledger["flops"] > 0
