import numpy as np
import pyarrow as pa
import pytest

from shoal.errors import DataError
from shoal.formats import tables
from shoal.formats.kinds import FOLDS
from shoal.formats.tables import Columns, write_table
from shoal.split import spellings
from shoal.split.check import Shard, check
from shoal.split.keys import value_hashes
from shoal.split.sketch import Sketch

PLAIN = Columns({"x": "numeric", "y": "label"}, "classification", {}, {}, {})
NAMED = Columns({"i": "id", "x": "numeric", "y": "label"}, "classification", {}, {}, {})
GROUPED = Columns({"x": "numeric", "g": "group", "y": "label"}, "classification", {}, {}, {})
NUMBERED = Columns({"x": "numeric", "y": "label"}, "regression", {}, {}, {})


@pytest.fixture
def checked(tmp_path, split_settings):
    """The check of source files, each given as rows of (key, fold, values by column)."""

    def checked(columns, *files, split=None, by_group=False):
        shards = []
        for number, rows in enumerate(files):
            keys = value_hashes(np.array([row[0] for row in rows], dtype=object))
            values = np.array([repr(row[2]) for row in rows], dtype=object)
            sources = value_hashes(values)
            content = {name: [row[2][name] for row in rows] for name in rows[0][2]}
            content |= {
                tables.KEY: tables.key_array(keys),
                tables.FOLD: [row[1] for row in rows],
                tables.SOURCE: tables.key_array(sources),
            }
            schema = columns.schema()
            table = pa.table(content).select(schema.names).cast(schema)
            files = [tmp_path / f"{number}.{each}" for each in ("parquet", "facts", "sample")]
            write_table(files[0], schema, [table], {"rows_in": len(rows), "dropped": {}})
            sketch = Sketch(columns)
            sketch.add(table)
            sketch.save(*files[1:])
            shards.append(Shard(f"file{number}.csv", *files))
        return check(shards, columns, split or split_settings(), by_group=by_group)

    return checked


def row(key, fold, x=1.0, y="a", **more):
    return key, fold, {"x": x, "y": y, **more}


FOLDED = [row("p", 0), row("q", 0, y="b"), row("r", 1), row("s", 2)]


def test_rows_are_counted_by_fold(checked):
    """Every row is counted once, those outside of all folds too."""
    found = checked(PLAIN, FOLDED, [row("t", 3), row("u", 0)])

    del found["leaks"]
    assert found == {
        "rows": 6,
        "folds": {"train": 3, "validation": 1, "test": 1, "outside": 1},
        "duplicates": {"rows": 0, "same_key": 0, "across_folds": 0},
        "spellings": [],
    }


def test_duplicates_are_counted_across_files(checked):
    """Copies of a row, and rows of one key but another label, are counted beyond the first."""
    found = checked(PLAIN, FOLDED, [row("p", 0), row("p", 1), row("q", 0, y="a"), row("s", 3)])

    assert found["duplicates"] == {"rows": 3, "same_key": 4, "across_folds": 1}


def test_an_id_of_two_contents_is_an_error(checked):
    """One id with two contents is refused with both files and rows; a mere copy is not."""
    assert checked(NAMED, FOLDED, [row("p", 0)])["duplicates"]["rows"] == 1
    problem = r"file1\.csv: row 2 has the same 'i' as file0\.csv: row 3, .*; 1 rows in all"

    with pytest.raises(DataError, match=problem):
        checked(NAMED, FOLDED, [row("t", 0), row("r", 1, x=2.0)])


def test_equal_inputs_across_folds_are_counted_whatever_their_ids(checked):
    """A held-out row counts once for an earlier fold; rows outside every fold do not count."""
    unlike = [row("p", 0), row("q", 0, x=2.0, y="b"), row("r", 1, x=3.0), row("s", 2, x=4.0)]
    copies = [row("t", 1, x=2.0), row("u", 2, x=3.0), row("v", 0, x=2.0), row("w", 3, x=2.0)]

    assert checked(NAMED, unlike)["leaks"]["exact"] == {"rows": 0, "of": 2}
    assert checked(NAMED, unlike, copies)["leaks"]["exact"] == {"rows": 2, "of": 4}


def test_a_different_label_is_different_content(checked):
    """Two rows of one id that differ in their label alone are refused."""
    with pytest.raises(DataError, match=r"file0\.csv: row 5 has the same 'i' as file0\.csv: row 1"):
        checked(NAMED, [*FOLDED, row("p", 0, y="b")])


def test_a_group_in_two_folds_is_an_error(checked):
    """A group across folds is named with a row of each; rows without group or fold are free."""
    free = [row("t", 0, g=None), row("u", 1, g=None), row("v", 3, g="one")]
    apart = [(key, fold, values | {"g": f"only{fold}"}) for key, fold, values in FOLDED]
    one = [row("w", 0, g="one")]

    assert checked(GROUPED, apart, free, one)["rows"] == 8
    problem = (
        r"column 'g': group 'one' is in train \(file2\.csv: row 1\) and in "
        r"test \(file3\.csv: row 2\)"
    )
    with pytest.raises(DataError, match=problem):
        checked(GROUPED, apart, free, one, [row("x", 0, g="more"), row("y", 2, g="one")])


@pytest.mark.parametrize("fold", [0, 3])
def test_a_group_that_shares_a_route_is_in_one_file(checked, fold):
    """Else both files are named with a row of each; rows without a group are free."""
    free = [row("t", 0, g=None), row("u", 0, g="one")]
    apart = [(key, fold, values | {"g": f"only{fold}"}) for key, fold, values in FOLDED]
    again = [row("v", 0, g=None), row("w", 0, g="more"), row("x", fold, g="one")]

    assert checked(GROUPED, apart, free, again[:2], by_group=True)["rows"] == 8
    assert checked(GROUPED, apart, free, again)["rows"] == 9
    problem = r"column 'g': group 'one' is in two files \(file1\.csv: row 2; file2\.csv: row 3\)"
    with pytest.raises(DataError, match=problem):
        checked(GROUPED, apart, free, again, by_group=True)


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_an_empty_fold_is_an_error(checked, fold):
    """An empty fold is named with the fractions that were asked for."""
    name = FOLDS[fold]
    problem = rf"the {name} fold is empty: \d rows, split by 'hash' into train 0.6, validation 0.2"

    with pytest.raises(DataError, match=problem):
        checked(PLAIN, [row for row in FOLDED if row[1] != fold])


def test_an_empty_fold_of_a_k_fold_names_the_folds(checked, split_settings):
    """Where folds are equal parts, the message says how many."""
    with pytest.raises(DataError, match="the test fold is empty: 3 rows, split by 'k_fold' into 5"):
        checked(PLAIN, FOLDED[:3], split=split_settings("k_fold"))


def test_an_empty_fold_of_a_column_names_the_column(checked, split_settings):
    """Where a column names the fold, the message speaks of its values."""
    split = split_settings("column", column="part", values={"tr": "train"})

    with pytest.raises(DataError, match="the test fold is empty: no row's 'part' is a value"):
        checked(PLAIN, FOLDED[:3], split=split)


@pytest.mark.parametrize(("columns", "value"), [(PLAIN, "a"), (NUMBERED, 1.5)])
def test_a_constant_label_is_an_error(checked, columns, value):
    """One label in all of training is refused, whatever the other folds hold."""
    other = {"a": "b", 1.5: 2.5}[value]
    rows = [row("p", 0, y=value), row("q", 0, y=value), row("r", 1, y=other), row("s", 2, y=other)]

    with pytest.raises(DataError, match=rf"column 'y': the label is {value!r} in all 2 rows"):
        checked(columns, rows)


def test_spellings_that_differ_in_case_or_blanks_are_found(checked):
    """Labels and categories that look alike are named over all files, free text is not."""
    frozen = Columns({"k": "categorical", "t": "text", "y": "label"}, "classification", {}, {}, {})

    def rows(part, kinds, labels):
        values = enumerate(zip(kinds, labels, strict=True))
        return [(f"{part}{n}", n % 3, {"k": k, "t": "aA"[n % 2], "y": y}) for n, (k, y) in values]

    found = checked(
        frozen,
        rows(0, ["a", "b", None], ["Cat", "Cat", "dog"]),
        rows(1, ["A", "B", "b"], ["cat ", "dog", "cow"]),
    )["spellings"]

    assert found == [
        {
            "column": "k",
            "spellings": [{"value": "b", "rows": 2}, {"value": "B", "rows": 1}],
            "others": 1,
        },
        {
            "column": "y",
            "spellings": [{"value": "Cat", "rows": 2}, {"value": "cat ", "rows": 1}],
            "others": 0,
        },
    ]


def test_names_of_single_rows_are_not_compared(checked, monkeypatch):
    """Memory is bounded: a column of very many values is left out, whatever their order."""
    monkeypatch.setattr(spellings, "MOST_VALUES", 3)

    few = [row("p", 0, y="a"), row("q", 0, y="A"), row("r", 1, y="b"), row("u", 2, y="b")]
    assert checked(PLAIN, few)["spellings"]
    assert checked(PLAIN, few, [row("s", 0, y="c")])["spellings"] == []
