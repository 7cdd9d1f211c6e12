"""Which rows a split keeps together, and so are one unit."""

import numpy as np
import pytest
from scipy.signal import lfilter

from shoal.evaluate.bootstrap import paired_bootstrap
from shoal.formats.tables import Columns, units
from shoal.split.folds import Basis, block_numbers, fit_blocks, unit_kind, units_of


def csv(path, rows):
    path.write_text("\n".join(rows) + "\n")
    return path


def read(tables):
    """Rows of all tables: their columns and folds, and their units."""
    batches = [rows for table in tables.values() for rows in table.batches(1000)]
    return [rows.to_pydict() for rows in batches], [units(rows) for rows in batches]


def test_a_group_is_a_unit_in_every_file(run, tmp_path, split_settings):
    """Rows of a patient share a unit wherever they are; a row without one is its own."""
    lines = [f"{n},{'abcdefghij'[n % 10]},{n % 2}" for n in range(40)]
    files = [csv(tmp_path / f"{n}.csv", ["x,who,y", *lines[n::2]]) for n in (0, 1)]
    files.append(csv(tmp_path / "none.csv", ["x,who,y", "98,,0", "99,,1", "97,a,0"]))
    columns = {"x": "numeric", "who": "group", "y": "label"}

    tables, _ = run(files, columns, split_settings("group"))

    parts, own = read(tables)
    by_name = {}
    for part, found in zip(parts, own, strict=True):
        for name, unit in zip(part["who"], found.tolist(), strict=True):
            by_name.setdefault(name, []).append(unit)
    alone = by_name.pop(None)
    assert {name: len(set(found)) for name, found in by_name.items()} == dict.fromkeys(by_name, 1)
    assert len({*alone, *(found[0] for found in by_name.values())}) == len(by_name) + 2


def test_rows_on_their_own_have_no_units(run, tmp_path, split_settings):
    """Where a split keeps nothing together the table is as it was."""
    lines = [f"{n},{n % 2}" for n in range(40)]

    tables, _ = run([csv(tmp_path / "a.csv", ["x,y", *lines])], {"y": "label"}, split_settings())

    assert read(tables)[1] == [None]


def test_similar_rows_are_a_unit(run, tmp_path, split_settings):
    """Texts that differ in a letter share a unit, others have their own."""
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACGT"), 60)) for _ in range(20)]
    lines = [f"{text}{end},{n % 2}" for n, text in enumerate(texts) for end in "ACG"]

    tables, _ = run(
        [csv(tmp_path / "a.csv", ["t,y", *lines])],
        {"t": "text", "y": "label"},
        split_settings("similarity"),
    )

    (found,) = (np.concatenate(read(tables)[1]),)
    assert [len(set(family)) for family in found.reshape(20, 3).tolist()] == [1] * 20
    assert len(set(found.tolist())) == 20


def test_there_are_as_many_blocks_of_time_as_times_in_a_block():
    """Of 400 times in test twenty make a block, of 64 in validation eight; equal times share."""
    times = np.repeat(np.arange(1464.0), 2)
    state = fit_blocks(times, np.array([1000.0, 1064.0]))

    numbers = block_numbers(state, np.arange(1464.0))

    counts = np.unique(numbers, return_counts=True)[1].tolist()
    assert counts == [1000, *[8] * 8, *[20] * 20]


def test_later_times_get_blocks_of_their_own():
    """Rows that arrive after the fit are not one endless block."""
    state = fit_blocks(np.arange(200.0), np.array([50.0, 100.0]))

    later = block_numbers(state, np.arange(200.0, 300.0))

    assert later.min() > block_numbers(state, np.array([199.0])).max()
    assert np.unique(later, return_counts=True)[1].tolist() == [10] * 10


def test_rows_split_by_time_are_units_by_block(run, tmp_path, split_settings):
    """The fitted blocks reach the table: neighbours in time share a unit."""
    lines = [f"{n},{n},{n % 2}" for n in range(400)]
    columns = {"x": "numeric", "when": "time", "y": "label"}

    tables, _ = run(
        [csv(tmp_path / "a.csv", ["x,when,y", *lines])], columns, split_settings("time")
    )

    parts, own = read(tables)
    fold, unit = np.concatenate([part["_fold"] for part in parts]), np.concatenate(own)
    assert len(set(unit[fold == 1].tolist())) == len(set(unit[fold == 2].tolist())) == 9
    assert np.count_nonzero(np.diff(unit[fold == 2].astype(np.int64))) == 8


@pytest.mark.parametrize(
    ("kinds", "method", "made_by"),
    [
        ({"who": "group"}, "time", "group"),
        ({"who": "group"}, "hash", "group"),
        ({"when": "time"}, "time", "time"),
        ({"when": "time"}, "hash", None),
        ({"t": "text"}, "similarity", "similarity"),
        ({"t": "text"}, "stratified", None),
    ],
)
def test_a_declared_group_goes_before_the_method(kinds, method, made_by):
    """Every split keeps groups on one side; times and likeness count where it goes by them."""
    assert unit_kind(Columns(kinds, "classification", {}, {}, {}), method) == made_by


def test_a_row_that_no_fit_saw_is_its_own_unit():
    """Rows that arrive later are in no cluster."""
    keys = np.random.default_rng(0).integers(256, size=(3, 16)).astype(np.uint8)
    keys = keys[np.lexsort(keys.T[::-1])]
    state = {"keys": keys[:2], "folds": np.zeros(2, np.uint8), "units": np.array([5, 5], np.uint64)}

    found = units_of("similarity", state, Basis(keys, "a.csv", 1))

    assert found[:2].tolist() == [5, 5]
    assert found[2] == keys[2, :8].copy().view("<u8")[0]


def test_blocks_of_time_see_dependence_that_rows_do_not():
    """Without a difference, hours that resemble the last one look like one in two of three runs."""
    hours, runs = 1000, 60
    state = fit_blocks(np.arange(hours + 2.0), np.array([1.0, 2.0]))
    unit = block_numbers(state, np.arange(2.0, hours + 2.0)).astype(np.uint64)
    told = {"row": 0, "unit": 0}
    for seed in range(runs):
        chance = np.random.default_rng(seed).normal(size=hours + 200)
        gain = lfilter([1.0], [1.0, -0.9], chance)[200:]
        constant = np.full(hours, 50.0)
        for name, own in (("row", None), ("unit", unit)):
            found = paired_bootstrap(constant + gain, constant, "rmse", 200, seed, units=own)
            told[name] += found.sign != 0

    assert told["row"] > 0.5 * runs
    assert told["unit"] < 0.2 * runs
