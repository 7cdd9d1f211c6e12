"""Sketches of shards: all of them together say what the rows do, however these are cut."""

import itertools
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pytest

from shoal.errors import CorruptError, DataError, SourceError
from shoal.formats import tables
from shoal.formats.kinds import OUTSIDE
from shoal.formats.tables import Columns, Table, write_table
from shoal.split import entries, leaks
from shoal.split.check import Shard, check
from shoal.split.entries import gathered
from shoal.split.keys import row_keys, value_hashes
from shoal.split.leaks import Sample
from shoal.split.sketch import Facts, Sketch, as_numbers

KINDS = {"x": "numeric", "c": "categorical", "y": "label"}
PLAIN = Columns(KINDS, "classification", {}, {}, {})
NAMED = Columns({"i": "id", **KINDS}, "classification", {}, {}, {})
GROUPED = Columns({**KINDS, "g": "group"}, "classification", {}, {}, {})


def made(columns, content, folds):
    """A split table of some values."""
    arrays = {name: pa.array(list(values)) for name, values in content.items()}
    table = pa.table(arrays)
    contents = [repr(row) for row in table.select([*columns.inputs, *columns.labels]).to_pylist()]
    added = {
        tables.KEY: tables.key_array(row_keys(table, columns)),
        tables.FOLD: pa.array(folds, pa.uint8()),
        tables.SOURCE: tables.key_array(value_hashes(np.array(contents, dtype=object))),
    }
    return pa.table(arrays | added).select(columns.schema().names).cast(columns.schema())


def drawn(columns, rows, values, seed=0):
    """Rows of few values, so that many are there again."""
    draw = np.random.default_rng(seed)
    content = {
        "x": draw.integers(values, size=rows).astype(float),
        "c": draw.choice(["u", "U", "v "], rows),
        "y": draw.choice(["yes", "no"], rows),
    }
    if "i" in columns.kinds:
        content["i"] = draw.integers(10 * rows, size=rows).astype(str)
        _, first, number = np.unique(content["i"], return_index=True, return_inverse=True)
        content = {name: values[first][number] for name, values in content.items()}
    return made(columns, content, draw.choice(4, rows, p=[0.5, 0.2, 0.2, 0.1]))


@pytest.fixture
def shards(tmp_path):
    """Writes tables as shards with their sketches."""

    def shards(columns, parts):
        found = []
        for number, table in enumerate(parts):
            kept = Sketch(columns)
            for start in range(0, len(table), 100):
                kept.add(table[start : start + 100])
            paths = [
                tmp_path / f"{len(parts)}-{number}.{end}" for end in ("table", "facts", "sample")
            ]
            write_table(paths[0], table.schema, [table], {})
            kept.save(*paths[1:])
            found.append(Shard(f"file{number}.csv", *paths))
        return found

    return shards


def cut(table, seed):
    """The same rows in another order and in parts of any size, one of them empty."""
    draw = np.random.default_rng(seed)
    mixed = table.take(draw.permutation(len(table)))
    places = np.sort(draw.integers(len(table), size=5)).tolist()
    bounds = zip([0, *places, places[-1]], [*places, places[-1], len(table)], strict=True)
    return [mixed[start:stop] for start, stop in bounds]


def counted(table, columns):
    """Counts of a check, row by row."""
    rows = [
        (key.tobytes(), tuple(values.items()), tuple(values[name] for name in columns.inputs), fold)
        for key, values, fold in zip(
            tables.keys(table),
            table.select(["x", "c", "y"]).to_pylist(),
            tables.folds(table).tolist(),
            strict=True,
        )
    ]
    folds_of_key, first_fold = defaultdict(set), {}
    for key, _, inputs, fold in rows:
        folds_of_key[key] |= {fold} - {OUTSIDE}
        first_fold[inputs] = min(fold, first_fold.get(inputs, fold))
    return {
        "rows": len(rows) - len({(key, content) for key, content, _, _ in rows}),
        "same_key": len(rows) - len({key for key, *_ in rows}),
        "across_folds": sum(len(folds) > 1 for folds in folds_of_key.values()),
        "exact": sum(first_fold[inputs] < fold < OUTSIDE for _, _, inputs, fold in rows),
    }


@pytest.mark.parametrize("columns", [PLAIN, NAMED], ids=["by inputs", "by id"])
def test_a_check_does_not_depend_on_shards_or_ranges(shards, split_settings, monkeypatch, columns):
    """Counts are those of all rows; the whole result is the same for any cut, order and block."""
    monkeypatch.setattr(leaks, "_MOST_TRAINING", 120)
    monkeypatch.setattr(leaks, "_MOST_COMPARED", 100)
    table = drawn(columns, 700, 150)

    whole = check(shards(columns, [table]), columns, split_settings())
    monkeypatch.setattr(entries, "BLOCK", 20)
    parts = check(shards(columns, cut(table, 1)), columns, split_settings())

    assert whole == parts
    expected = counted(table, columns)
    assert min(expected.values()) > 0
    assert whole["duplicates"] | {"exact": whole["leaks"]["exact"]["rows"]} == expected
    assert whole["leaks"]["near"]["of"] < 100  # repeated rows do not count
    assert [each["column"] for each in whole["spellings"]] == ["c"]


def test_hashes_of_tables_are_read_and_few_rows_of_samples(shards, split_settings, monkeypatch):
    """An edit makes one shard anew; the check reads all others too, but little of them."""
    monkeypatch.setattr(leaks, "_MOST_TRAINING", 100)
    monkeypatch.setattr(leaks, "_MOST_VALIDATION", 50)
    monkeypatch.setattr(leaks, "_MOST_COMPARED", 50)
    monkeypatch.setattr(leaks, "_SAMPLE_ROWS", 16)
    table = drawn(PLAIN, 8000, 10**9)
    found = shards(PLAIN, [table[start : start + 400] for start in range(0, 8000, 400)])
    asked = []
    batches = Table.batches

    def noted(self, rows, columns=None):
        if any(self.path == shard.table for shard in found):
            asked.append(columns)
        return batches(self, rows, columns)

    monkeypatch.setattr(Table, "batches", noted)

    assert check(found, PLAIN, split_settings())["rows"] == 8000
    assert asked == [[tables.KEY, tables.SOURCE, tables.FOLD]] * 20
    sample = Sample(PLAIN)
    read = [sample.merge(shard.sample) for shard in found]
    assert min(Table(shard.sample).rows for shard in found) > 150
    # Of n shards, the last has one in n of the smallest keys.
    assert sum(read[-5:]) < 5 * 4 * 16


def test_entries_are_merged_in_order_with_places_among_all_rows(shards, monkeypatch, tmp_path):
    """Every entry comes once, in ascending ranges of at most about so many."""
    monkeypatch.setattr(entries, "BLOCK", 50)
    table = drawn(PLAIN, 1000, 200)
    found = shards(PLAIN, [table[:300], table[300:]])
    opened = [(shard.table, Facts.open(shard.facts)) for shard in found]

    with gathered(opened, PLAIN, tmp_path) as entries_of:
        blocks = list(entries_of["key"])

    assert len(blocks) > 10
    assert max(map(len, blocks)) < 100
    ends = [(int(block.hash[:, 0].min()), int(block.hash[:, 0].max())) for block in blocks]
    assert all(one[1] < two[0] for one, two in itertools.pairwise(ends))
    assert sum(int(block.rows.sum()) for block in blocks) == 1000
    keys = as_numbers(tables.keys(table))
    for block in blocks:
        assert (keys[block.first] == block.hash).all()
    folds = Counter()
    for block in blocks:
        for fold, rows in zip(block.fold.tolist(), block.rows.tolist(), strict=True):
            folds[fold] += rows
    assert folds == Counter(tables.folds(table).tolist())


def test_the_first_conflict_is_named_whatever_the_order_of_hashes(shards, split_settings):
    """Of an id with copies and two contents, the first rows that differ are named."""
    ids = ["p", "q", "p", "q", "q", "r", "s", "t"]
    values = [1.0, 2.0, 1.0, 2.0, 9.0, 4.0, 5.0, 1.0]
    content = {"i": ids, "x": values, "c": ["u"] * 8, "y": list("abababab")}
    content["y"] = ["a", "b", "a", "b", "b", "a", "a", "b"]
    table = made(NAMED, content, [0, 0, 0, 0, 0, 1, 2, 0])

    problem = r"file1\.csv: row 2 has the same 'i' as file0\.csv: row 2, .*; 1 rows in all"
    with pytest.raises(DataError, match=problem):
        check(shards(NAMED, [table[:3], table[3:]]), NAMED, split_settings())


def test_the_first_rows_of_a_group_in_two_folds_are_named(shards, split_settings, monkeypatch):
    """A group's row is found in its shard, behind rows of the same group."""
    monkeypatch.setattr(entries, "BLOCK", 2)
    groups = ["a", "b", "b", "c", "c", "b", "d", None]
    content = {"x": np.arange(8.0), "c": ["u"] * 8, "y": ["a", "b"] * 4, "g": groups}
    table = made(GROUPED, content, [0, 1, 1, 2, 2, 2, 0, 0])

    problem = (
        r"column 'g': group 'b' is in validation \(file0\.csv: row 2\) and in test "
        r"\(file1\.csv: row 3\)"
    )
    with pytest.raises(DataError, match=problem):
        check(shards(GROUPED, [table[:3], table[3:]]), GROUPED, split_settings())


def test_a_sketch_that_does_not_read_is_named(shards, split_settings):
    """A missing file and one that is cut off are told apart, with their path."""
    (shard,) = shards(PLAIN, [drawn(PLAIN, 50, 9)])
    content = shard.facts.read_bytes()
    shard.facts.write_bytes(content[:-5])
    with pytest.raises(CorruptError, match=r"1-0\.facts: not readable as safetensors"):
        check([shard], PLAIN, split_settings())
    shard.facts.unlink()
    with pytest.raises(SourceError, match=r"1-0\.facts: no such file"):
        check([shard], PLAIN, split_settings())
