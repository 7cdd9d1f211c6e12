"""Each kind of leak is found, and clean rows have none."""

import math

import numpy as np
import pyarrow as pa
import pytest

from shoal.formats import tables
from shoal.formats.tables import Columns, write_table
from shoal.report.words import leak_lines
from shoal.split import leaks
from shoal.split.check import Shard, check
from shoal.split.keys import row_keys
from shoal.split.leaks import near_rows
from shoal.split.sketch import Sketch

KINDS = {"a": "numeric", "b": "numeric", "c": "categorical", "t": "text", "y": "label"}
ROWS = 1200


def rng():
    return np.random.default_rng(0)


def clean(rows=ROWS):
    """Rows that a model can learn, though from no column alone."""
    draw = rng()
    a, b = draw.normal(size=(2, rows))
    c = draw.choice(["u", "v", "w"], rows)
    letters = draw.choice(list("abcdefgh"), (rows, 8))
    y = np.where((a > 0) == (c == "u"), "yes", "no")
    return {"a": a, "b": b, "c": c, "t": ["".join(row) for row in letters], "y": y}


def some_folds(rows):
    return rng().choice(3, size=rows, p=[0.6, 0.2, 0.2]).astype(np.uint8)


def shard(path, table, columns):
    """A shard's table and sketch."""
    write_table(path, table.schema, [table], {})
    sketch = Sketch(columns)
    sketch.add(table)
    sketch.save(path.with_suffix(".facts"), path.with_suffix(".sample"))
    return Shard(path.name, path, path.with_suffix(".facts"), path.with_suffix(".sample"))


@pytest.fixture
def found(tmp_path, split_settings):
    """What the leak check says of columns of values, in files of 500 rows."""

    def found(values, kinds=None, task="classification", folds=None):
        columns = Columns(kinds or KINDS, task, {}, {}, {})
        rows = len(values["y"])
        folds = some_folds(rows) if folds is None else folds
        content = {n: pa.array(list(v), columns.arrow_type(n)) for n, v in values.items()}
        table = pa.table(content)
        keys = row_keys(table, columns)
        hashed = tables.key_array(keys)
        content |= {tables.KEY: hashed, tables.FOLD: pa.array(folds, pa.uint8())}
        content[tables.SOURCE] = hashed
        table = pa.table(content, schema=columns.schema())
        opened = []
        for start in range(0, rows, 500):
            opened.append(shard(tmp_path / f"{start}", table.slice(start, 500), columns))
        return check(opened, columns, split_settings())["leaks"]

    return found


def test_clean_rows_have_no_leak(found):
    """Nothing is said of rows that a model has to learn from."""
    out = found(clean())

    assert out["exact"]["rows"] == 0
    assert leak_lines(out) == []
    assert out["columns"] == []
    assert out["exact"]["of"] == out["near"]["of"] == (some_folds(ROWS) > 0).sum()


def test_copies_across_folds_are_counted(found):
    """Held-out rows that training holds as well."""
    values = clean()
    folds = some_folds(ROWS)
    train, test = np.flatnonzero(folds == 0)[:30], np.flatnonzero(folds == 2)[:30]
    for name in ("a", "b", "c", "t"):
        column = np.array(values[name])
        column[test] = column[train]
        values[name] = column

    out = found(values, folds=folds)

    assert out["exact"]["rows"] == 30
    assert out["near"]["of"] == (folds > 0).sum() - 30


@pytest.mark.parametrize("dims", [3, 8, 64])
def test_rows_that_are_almost_copies_are_counted(dims):
    """A little noise on a copy does not hide it, in few dimensions and in many."""
    draw = rng()
    train, held_out = draw.normal(size=(2000, dims)), draw.normal(size=(400, dims))
    noise = {3: 0.0005, 8: 0.01, 64: 0.02}[dims]
    near = train[:80] + noise * draw.normal(size=(80, dims))

    assert near_rows(train, held_out)[0] <= 3
    found, by_chance = near_rows(train, np.concatenate([held_out, near]))
    assert 80 <= found <= 83
    assert by_chance < 10


@pytest.mark.parametrize("dims", [1, 2])
def test_rows_of_few_numbers_are_near_by_chance(dims):
    """Where everything lies close together, as many are expected to be near, or more."""
    draw = rng()
    train, held_out = draw.normal(size=(5000, dims)), draw.normal(size=(1000, dims))

    found, by_chance = near_rows(train, held_out)

    assert 10 < found < by_chance


def test_categories_beside_a_number_are_near_by_chance():
    """Within a combination of categories all lie close together, whatever the other rows do."""
    draw = rng()
    mixed = [
        np.concatenate(
            [np.eye(40)[draw.integers(40, size=n)], draw.normal(size=(n, 1)) / 9], axis=1
        )
        for n in (900, 300)
    ]

    found, by_chance = near_rows(*mixed)

    assert 10 < found < by_chance


def test_too_few_rows_are_not_compared(found):
    """Nothing can be said about chance, not even where every held-out row is a copy."""
    values = {name: column[:120] for name, column in clean().items()}
    folds = np.repeat([0, 1, 2], [80, 39, 1]).astype(np.uint8)

    assert found(values, folds=folds)["near"] == {"rows": 0, "by_chance": 0.0, "of": 40}
    for name, column in values.items():
        values[name] = [*column[:80], *column[:40]]
    assert found(values, folds=folds)["near"]["of"] == 0


def test_a_copy_with_another_letter_is_near(found):
    """Texts are compared by their n-grams, beside numbers that are a little off."""
    values = clean()
    folds = some_folds(ROWS)
    train, test = np.flatnonzero(folds == 0)[:60], np.flatnonzero(folds == 2)[:60]
    for name in ("a", "b"):
        values[name][test] = values[name][train] + 1e-4
    texts = np.array(values["t"])
    texts[test] = texts[train]
    values["t"] = texts
    values["c"][test] = values["c"][train]

    out = found(values, folds=folds)

    assert out["near"]["rows"] - out["near"]["by_chance"] > 40
    (line,) = leak_lines(out)
    assert "held-out rows are almost the same as a training row" in line


def named(out):
    return [each["column"] for each in out["columns"]]


def test_a_column_that_equals_the_label_is_named(found):
    """As a category under other names, and as a number."""
    values = clean()
    values["c"] = np.where(values["y"] == "yes", "alive", "dead")
    values["b"] = np.where(values["y"] == "yes", 1.0, 0.0)

    out = found(values)

    assert named(out) == ["b", "c"]
    assert out["columns"][0]["score"] == 1
    assert 0.4 < out["columns"][0]["constant"] < 0.6


def test_a_text_that_holds_the_label_is_named(found):
    """Paths such as yes/0017.png give the label away although no text repeats."""
    values = clean()
    values["t"] = [f"{label}/{n:04}.png" for n, label in enumerate(values["y"])]

    assert named(found(values)) == ["t"]


def test_a_number_of_rows_is_no_leak_unless_rows_are_ordered_by_label(found):
    """An id tells nothing about other rows; the place in a sorted file tells everything."""
    values = clean() | {"b": np.arange(ROWS, dtype=float)}
    assert named(found(values)) == []

    values["y"] = np.sort(values["y"])
    assert named(found(values)) == ["b"]


def test_a_column_that_gives_a_number_is_named(found):
    """In regression by R²: the label in another unit, but not a column that only helps."""
    values = clean()
    y = 3 * values["a"] + values["b"]
    values |= {"y": y, "b": 100 * y, "a": values["a"]}

    out = found(values, task="regression")

    assert named(out) == ["b"]
    assert out["columns"][0]["score"] > 0.99


def test_gaps_and_unseen_values_are_no_obstacle(found):
    """Missing values are values of their own; the column is named all the same."""
    values = clean()
    values["c"] = np.array([None if label == "no" else "x" for label in values["y"]], dtype=object)

    assert named(found(values)) == ["c"]


def test_the_only_input_is_not_accused(found):
    """That a single column gives the label is what the model is for."""
    y = clean()["y"]

    out = found({"c": y, "y": y}, kinds={"c": "categorical", "y": "label"})

    assert out["columns"] == []


def test_rare_labels_are_not_accused(found):
    """Where the constant answer is nearly always right, a few rows prove nothing."""
    values = clean()
    values["y"] = np.where(np.arange(ROWS) % 200 == 0, "yes", "no")
    values["c"] = values["y"]

    assert named(found(values)) == []


def test_the_sample_is_bounded_and_by_key(found, monkeypatch):
    """Of more rows than are looked at, keys alone decide which: not their order."""
    monkeypatch.setattr(leaks, "_MOST_TRAINING", 200)
    monkeypatch.setattr(leaks, "_MOST_VALIDATION", 100)
    monkeypatch.setattr(leaks, "_MOST_COMPARED", 150)
    values = clean() | {"c": clean()["y"]}
    folds = some_folds(ROWS)
    order = rng().permutation(ROWS)
    mixed = {name: np.array(column)[order] for name, column in values.items()}

    out = found(values, folds=folds)

    assert out["near"]["of"] == 150
    assert named(out) == ["c"]
    assert found(mixed, folds=folds[order]) == out


def test_wide_rows_are_sampled_more_thinly(found, monkeypatch):
    """Memory is bounded by numbers, not by rows: columns of texts count as their n-grams."""
    monkeypatch.setattr(leaks, "_MOST_NUMBERS", 2_000_000)

    out = found(clean())

    assert out["near"]["of"] == math.ceil(2000 * 2_000_000 / ((2 * 512 + 2) * 10_000))


def test_images_are_compared_but_not_asked_alone(tmp_path, split_settings):
    """Copies of pictures with a little noise are near; an image column is never named."""
    columns = Columns(
        {"i": "image", "n": "numeric", "y": "label"},
        "classification",
        {"i": [5, 5]},
        {"i": "float32"},
        {},
    )
    draw = rng()
    pixels = draw.normal(size=(600, 5, 5)).astype(np.float32)
    folds = np.repeat([0, 1, 2], 200).astype(np.uint8)
    pixels[400:450] = pixels[:50] + 0.01 * draw.normal(size=(50, 5, 5)).astype(np.float32)
    numbers = np.zeros(600)
    content = {
        "i": tables.image_array(pixels),
        "n": numbers,
        "y": draw.choice(["p", "q"], 600),
        tables.KEY: tables.key_array(draw.integers(256, size=(600, 16)).astype(np.uint8)),
        tables.FOLD: folds,
    }
    content[tables.SOURCE] = content[tables.KEY]
    table = pa.table(content).select(columns.schema().names).cast(columns.schema())

    out = check([shard(tmp_path / "t", table, columns)], columns, split_settings())["leaks"]

    assert 50 <= out["near"]["rows"] <= 52
    assert out["near"]["by_chance"] < 1
    assert out["columns"] == []
