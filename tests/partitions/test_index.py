"""Groups of rows and the partition index."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.formats.hashing import (
    KEY_BYTES,
    ROW_HASH_BYTES,
    hash_rows,
    multiset_digest,
    multiset_sum,
)
from shoal.partitions.grouping import FOLD_NAMES, asked, group_order, groups
from shoal.partitions.index import merge_summaries

PARTITIONS = 3
FOLDS = ("train", "validation", "test")


class Rows:
    """Rows with a partition (-1 allowed) and a fold, and the hash of their content."""

    def __init__(self, content, partition, fold, runner_up=None):
        self.runner_up = np.full(len(fold), -1) if runner_up is None else np.asarray(runner_up)
        self.runner_up = self.runner_up.astype(np.int32)
        self.content = np.asarray(content, dtype=float)
        self.partition = np.asarray(partition, dtype=np.int32)
        self.fold = np.asarray(fold, dtype=np.uint8)
        self.hash = hash_rows({"x": self.content}, ROW_HASH_BYTES)
        self.key = hash_rows({"x": self.content}, KEY_BYTES)

    def __getitem__(self, rows):
        return Rows(self.content[rows], self.partition[rows], self.fold[rows], self.runner_up[rows])

    @property
    def facts(self):
        """What decides their order."""
        return self.partition, self.fold, self.hash, self.key, self.runner_up

    def __len__(self):
        return len(self.content)


def random_rows(count, seed=0):
    rng = np.random.default_rng(seed)
    partition = rng.integers(-1, PARTITIONS, count)
    content, fold = rng.integers(0, 40, count), rng.integers(0, 4, count)
    other = (partition + 1 + content % 2) % PARTITIONS
    return Rows(content, partition, fold, np.where(np.isin(fold, [1, 2]), other, -1))


def appended(rows, partition, fold, runner_up=-1):
    return Rows(
        np.append(rows.content, 999.0),
        np.append(rows.partition, partition),
        np.append(rows.fold, fold),
        np.append(rows.runner_up, runner_up),
    )


def summary(rows, shard):
    rows = rows[group_order(*rows.facts)]
    counts = {"shard": shard, "rows": len(rows), "unknown_labels": 0}
    counts["groups"] = groups(rows.partition, rows.fold, rows.hash)
    return counts | {"asked": asked(rows.runner_up, rows.fold, rows.hash)}


def index_of(*parts, lineage="g1", min_rows=1):
    summaries = [summary(rows, f"shard{number}") for number, rows in enumerate(parts)]
    return merge_summaries(summaries, PARTITIONS, min_rows, lineage)[0]


def digests(index):
    """Every digest of the index by partition and fold."""
    return {(e["partition"], f): e["digests"][f] for e in index["partitions"] for f in FOLDS}


def changed(before, after):
    old, new = digests(before), digests(after)
    return {place for place in old if old[place] != new[place]}


def test_order_is_by_partition_fold_runner_up_hash_and_key():
    """In this order of importance."""
    rows = random_rows(300)

    order = group_order(*rows.facts)

    sortable = [
        (
            *(int(array[i]) for array in (rows.partition, rows.fold, rows.runner_up)),
            rows.hash[i].tobytes(),
            rows.key[i].tobytes(),
        )
        for i in order
    ]
    assert sortable == sorted(sortable)
    assert sorted(order.tolist()) == list(range(300))


def test_rows_of_equal_content_stand_by_key():
    """Rows that only their key tells apart have one order, wherever they came from."""
    rows = Rows([1.0] * 5, [0] * 5, [0] * 5)
    key = hash_rows({"id": np.arange(5.0)}, KEY_BYTES)

    order = group_order(rows.partition, rows.fold, rows.hash, key, rows.runner_up)

    assert [key[i].tobytes() for i in order] == sorted(row.tobytes() for row in key)


def test_groups_cover_every_row_once():
    """Groups are consecutive, of one partition and fold each, with the sum of their hashes."""
    rows = random_rows(300)
    rows = rows[group_order(*rows.facts)]

    found = groups(rows.partition, rows.fold, rows.hash)

    assert [g["start"] for g in found] == [0, *(g["stop"] for g in found[:-1])]
    assert found[-1]["stop"] == sum(g["rows"] for g in found) == 300
    for group in found:
        inside = slice(group["start"], group["stop"])
        assert set(rows.partition[inside]) == {group["partition"]}
        assert {FOLD_NAMES[fold] for fold in rows.fold[inside]} == {group["fold"]}
        assert int(group["sum"], 16) == multiset_sum(rows.hash[inside])
    assert len({(g["partition"], g["fold"]) for g in found}) == len(found)


def test_no_rows_have_no_groups():
    """An empty shard has a summary without groups."""
    assert summary(random_rows(0), "a")["groups"] == []


def test_digest_is_over_the_partitions_own_rows():
    """A digest is the multiset digest of the partition's row hashes with the lineage."""
    rows = random_rows(100)

    entry = index_of(rows[:30], rows[30:])["partitions"][1]

    own = rows.hash[(rows.partition == 1) & (rows.fold == 0)]
    assert entry["rows"]["train"] == len(own)
    assert entry["digests"]["train"] == multiset_digest(multiset_sum(own), len(own), "g1")


@given(seed=st.integers(0, 99), partition=st.integers(0, PARTITIONS - 1), fold=st.integers(0, 2))
@settings(max_examples=25, deadline=None)
def test_appending_a_row_changes_one_digest(seed, partition, fold):
    """A digest depends on its own partition's and fold's rows alone."""
    rows = random_rows(60, seed)

    before, after = index_of(rows), index_of(appended(rows, partition, fold))

    assert changed(before, after) == {(partition, FOLDS[fold])}


@given(seed=st.integers(0, 99), cuts=st.lists(st.integers(0, 60), max_size=5))
@settings(max_examples=25, deadline=None)
def test_index_does_not_depend_on_shards_or_order(seed, cuts):
    """Rows in another order, cut into other shards, make the same index."""
    rows = random_rows(60, seed)
    shuffled = rows[np.random.default_rng(seed).permutation(60)]
    edges = [0, *sorted(cuts), 60]

    parts = [shuffled[a:b] for a, b in itertools.pairwise(edges)]

    assert index_of(*parts) == index_of(rows)


def test_a_removed_and_restored_row_restores_the_index():
    """A change that is undone gives the old digests back."""
    rows = random_rows(60)

    assert index_of(rows[:59]) != index_of(rows)
    assert index_of(rows[:59], rows[59:]) == index_of(rows)


def test_equal_rows_count_each():
    """Two equal rows are not one, nor none."""
    rows = random_rows(20)
    twice = rows[[*range(20), 5]]
    thrice = rows[[*range(20), 5, 5]]

    assert len({index["root"]["all"] for index in map(index_of, (rows, twice, thrice))}) == 3


def test_lineage_changes_every_digest():
    """Other fitted state gives other digests for the same rows."""
    rows = random_rows(60)

    before, after = index_of(rows, lineage="g1"), index_of(rows, lineage="g2")

    assert changed(before, after) == set(digests(before))


@pytest.mark.parametrize(
    ("fold", "roots"),
    [(0, {"train", "fit", "all"}), (1, {"fit", "all"}), (2, {"all"}), (3, {"all"})],
)
def test_roots_cover_their_folds(fold, roots):
    """A row changes the roots over its fold and no other."""
    rows = random_rows(60)

    before, after = index_of(rows)["root"], index_of(appended(rows, 1, fold))["root"]

    assert {name for name in before if before[name] != after[name]} == roots


def test_rows_in_are_rows_out():
    """Every row is counted once: in a partition's fold, outside, or without a partition."""
    rows = random_rows(200)

    index = index_of(rows[:90], rows[90:])

    assert sum(index["rows"].values()) == 200
    in_partitions = sum(sum(entry["rows"].values()) for entry in index["partitions"])
    without = sum(index["untrained_rows"].values())
    assert in_partitions + without + index["outside"]["rows"] == 200
    assert index["outside"]["rows"] == (rows.fold == 3).sum()


def test_partition_with_few_training_rows_is_not_trained():
    """A partition has a specialist from ``min_rows`` training rows on."""
    rows = Rows(range(7), [0, 0, 0, 1, 1, 2, 2], [0, 0, 0, 0, 0, 1, 1])

    index = index_of(rows, min_rows=3)

    assert [entry["trained"] for entry in index["partitions"]] == [True, False, False]


def test_members_say_where_rows_lie():
    """Members name, for each partition and fold, the rows' places, sorted by shard."""
    rows = Rows(range(5), [0, 0, 1, -1, 1], [0, 2, 1, 0, 3], [-1, -1, 0, -1, -1])

    summaries = [summary(rows, "b"), summary(rows[:2], "a")]
    members = merge_summaries(summaries, PARTITIONS, 1, "g")[1]

    assert members[0] == {
        "train": [["a", 0, 1], ["b", 1, 2]],
        "validation": [],
        "test": [["a", 1, 2], ["b", 2, 3]],
        "outside": [],
        "asked validation": [["b", 3, 4]],
        "asked test": [],
    }
    assert members[1]["outside"] == [["b", 4, 5]]
    assert members[-1]["train"] == [["b", 0, 1]]
    assert set(members) == {-1, 0, 1, 2}


def test_rows_elsewhere_are_found_by_their_runner_up():
    """Every validation and test row with one is in a run of it, once, with the sum of hashes."""
    rows = random_rows(300)
    rows = rows[group_order(*rows.facts)]

    found = asked(rows.runner_up, rows.fold, rows.hash)

    places = [np.r_[tuple(slice(*run) for run in each["places"])] for each in found]
    assert sorted(np.concatenate(places)) == np.flatnonzero(rows.runner_up >= 0).tolist()
    for each, inside in zip(found, places, strict=True):
        assert set(rows.runner_up[inside]) == {each["partition"]}
        assert {FOLD_NAMES[fold] for fold in rows.fold[inside]} == {each["fold"]}
        assert int(each["sum"], 16) == multiset_sum(rows.hash[inside])
        assert each["rows"] == len(inside)
    runs = sum(len(each["places"]) for each in found)
    assert runs <= len(set(zip(rows.partition, rows.fold, rows.runner_up, strict=True)))


@pytest.mark.parametrize(
    ("fold", "runner_up", "asks"), [(0, -1, {0}), (1, -1, {0}), (2, 2, {0, 2}), (3, -1, {0})]
)
def test_a_row_changes_what_its_partition_and_its_runner_up_are_asked(fold, runner_up, asks):
    """And no other's."""
    rows = random_rows(60)

    before, after = index_of(rows), index_of(appended(rows, 0, fold, runner_up))

    pairs = zip(before["partitions"], after["partitions"], strict=True)
    assert {old["partition"] for old, new in pairs if old["ask"] != new["ask"]} == asks


def test_a_row_that_changes_its_fold_changes_what_its_runner_up_is_asked():
    """A file of answers says which rows are of which fold."""
    rows = random_rows(60)

    one, two = (index_of(appended(rows, 0, fold, 2)) for fold in (1, 2))

    assert one["partitions"][2]["ask"] != two["partitions"][2]["ask"]


def test_rows_of_no_partition_are_asked_about_where_there_are_some():
    """Else there is no digest of them."""
    some, none = Rows([1, 2], [0, -1], [0, 2]), Rows([1, 2], [0, 1], [0, 2])

    assert index_of(none)["unassigned"]["ask"] is None
    assert index_of(some)["unassigned"]["ask"] is not None


def test_a_thousand_summaries_merge():
    """Counts of a thousand shards times 64 partitions add up."""
    hashes = [f"{value:064x}" for value in range(192)]
    groups_of_one = [
        {
            "partition": n // 3,
            "fold": FOLDS[n % 3],
            "rows": 1,
            "sum": hashes[n],
            "start": n,
            "stop": n + 1,
        }
        for n in range(192)
    ]
    summaries = [
        {"shard": f"{n:04}", "groups": groups_of_one, "asked": [], "unknown_labels": 0}
        for n in range(1000)
    ]

    index, _ = merge_summaries(summaries, 64, 1, "g")

    assert index["rows"]["train"] == 64000
