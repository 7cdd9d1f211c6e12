"""Steps that drop or repeat training rows."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from shoal.errors import DataError, SettingsError
from shoal.formats import tables
from shoal.formats.tables import Table
from shoal.transform.command import transform, transform_fit
from shoal.transform.pipeline import Pipeline, fit_pipeline


@pytest.fixture
def kinds(columns):
    """A number, a category and a class."""
    return columns(x="numeric", c="categorical", y="label")


@pytest.fixture
def kept(kinds, rows, shard, settings):
    """Keys' places that a filter keeps among training rows of x and c."""

    def run(names, options, x, c):
        count = len(x)
        table = rows(kinds, range(count), [0] * count, x=x, c=c, y=["a"] * count)
        pipeline = fit_pipeline(settings(("filter", names, options)), kinds, {"s": shard(table)})
        out = pipeline.shard("s").apply(table)
        left = out["_key"].to_pylist()
        return [place for place, key in enumerate(table["_key"].to_pylist()) if key in left]

    return run


@pytest.mark.parametrize(
    ("names", "options", "places"),
    [
        (["x"], {"min": 2}, [1, 2]),
        (["x"], {"max": 2}, [0, 1]),
        (["x"], {"min": 2, "max": 2}, [1]),
        (["x"], {"equals": 3}, [2]),
        (["x"], {"not_equals": 3}, [0, 1, 3]),
        (["x"], {"in": [1, 3]}, [0, 2]),
        (["x"], {"not_missing": True}, [0, 1, 2]),
        (["c"], {"equals": "b"}, [1]),
        (["c"], {"equals": 7}, [3]),
        (["c"], {"not_equals": "b"}, [0, 2, 3]),
        (["c"], {"in": ["a", 7]}, [0, 3]),
        (["c"], {"not_missing": True}, [0, 1, 3]),
        (["x", "c"], {"not_missing": True}, [0, 1]),
    ],
)
def test_filter_keeps_what_meets_every_condition(kept, names, options, places):
    """Bounds are inclusive; a missing value meets no condition but not_equals."""
    assert kept(names, options, x=[1, 2, 3, None], c=["a", "b", None, "7"]) == places


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["x"], {}, "give a condition"),
        (["c"], {"min": 1}, "min: column 'c' is text"),
        (["x"], {"equals": "a"}, "equals: 'a' is text, column 'x' is a number"),
        (["x"], {"mn": 1}, "did you mean 'min'"),
    ],
)
def test_filter_refuses_conditions_that_do_not_fit(kept, names, options, message):
    """A condition that a column cannot meet is an error, not an empty fold."""
    with pytest.raises(SettingsError, match=message):
        kept(names, options, x=[1], c=["a"])


@pytest.mark.parametrize(
    "step",
    [
        ("filter", ["x"], {"min": 99}),
        ("drop_duplicates", [], {}),
        ("balance", [], {"ratio": 1}),
        ("noise", ["x"], {"sd": 9}),
    ],
)
def test_other_folds_are_never_touched(kinds, rows, shard, settings, step):
    """Rows of validation, test and outside leave as they came; training rows do not."""
    folds = [0, 0, 0, 1, 1, 2, 2, 3, 3]
    labels = ["a", "a", "b"] + ["a"] * 6
    table = rows(kinds, range(9), folds, x=[1] * 9, c=["c"] * 9, y=labels)
    pipeline = fit_pipeline(settings(step), kinds, {"s": shard(table)}).shard("s")

    out = pipeline.apply(table)

    assert out.slice(len(out) - 6).equals(table.slice(3))
    assert not out.slice(0, len(out) - 6).equals(table.slice(0, 3))
    assert pipeline.rows_in == 9
    assert len(out) + sum(pipeline.dropped.values()) == 9


def test_filter_never_drops_a_row_to_predict(kinds, rows, shard, settings):
    """A row to predict passes every step that drops, even without fold, key and label."""
    table = rows(kinds, [0], [0], x=[1], c=["C"], y=["a"])
    steps = [
        ("filter", ["x"], {"min": 0}),
        ("filter", ["y"], {"not_missing": True}),
        ("balance", [], {"ratio": 1}),
        ("drop_duplicates", [], {}),
        ("noise", ["x"], {"sd": 1}),
        ("lower", ["c"], {}),
    ]
    pipeline = fit_pipeline(settings(*steps), kinds, {"s": shard(table)})
    new = rows(kinds, [0], [0], x=[-5], c=["D"], y=["a"]).select(["x", "c"])

    out = pipeline.predict(new, "new.csv")

    assert out.to_pydict() == {"x": [-5.0], "c": ["d"]}


def left(pipeline, shards, rows_at_a_time=4096):
    """Keys left in each shard."""
    out = {}
    for name, table in shards.items():
        run = pipeline.shard(name)
        batches = [run.apply(batch) for batch in table.batches(rows_at_a_time)]
        out[name] = [key for batch in batches for key in batch["_key"].to_pylist()]
    return out


def test_one_of_equal_rows_stays_whatever_the_shards(kinds, rows, shard, settings):
    """Across shards and batches exactly one of equal rows is left, and it is the same one."""
    table = rows(
        kinds,
        ["k1", "k2", "k3", "k4", "k5", "k6"],
        [0, 0, 0, 0, 0, 1],
        x=[1, 2, 1, 1, None, 1],
        c=["u", "u", "u", "u", "u", "u"],
        y=["a", "a", "a", "b", "a", "a"],
    )
    step = settings(("drop_duplicates", [], {}))
    cuts = {
        "one": {"a": table},
        "turned": {"a": table.take([5, 4, 3, 2, 1, 0])},
        "two": {"a": table.slice(2), "b": table.slice(0, 2)},
    }

    results = {}
    for cut, parts in cuts.items():
        shards = {name: shard(part, f"{cut}-{name}") for name, part in parts.items()}
        pipeline = Pipeline.from_state(fit_pipeline(step, kinds, shards).state())
        found = left(pipeline, shards, rows_at_a_time=1)
        results[cut] = sorted(key for keys in found.values() for key in keys)

    everything = table["_key"].to_pylist()
    smaller = min(everything[0], everything[2])
    expected = sorted([smaller, everything[1], *everything[3:]])
    assert results == dict.fromkeys(cuts, expected)


def test_one_of_rows_with_equal_key_stays(kinds, rows, shard, settings):
    """Without ids equal rows share a key: the first in the first shard by name stays."""
    table = rows(kinds, ["k", "k"], [0, 0], x=[1, 1], c=["u", "u"], y=["a", "a"])
    shards = {"b": shard(table, "b"), "a": shard(table, "a")}
    pipeline = fit_pipeline(settings(("drop_duplicates", [], {})), kinds, shards)

    found = left(pipeline, shards)

    assert {name: len(keys) for name, keys in found.items()} == {"a": 1, "b": 0}


def test_a_later_shard_keeps_no_row_of_another_key(kinds, rows, shard, settings):
    """With ids, a later copy of a content found twice is dropped; an edited shard keeps its own."""
    values = {"x": [1, 1], "c": ["u", "u"], "y": ["a", "a"]}
    table = rows(kinds, ["k", "l"], [0, 0], **values)
    other = rows(kinds, ["o"], [0], x=[2], c=["u"], y=["a"])
    pipeline = fit_pipeline(
        settings(("drop_duplicates", [], {})),
        kinds,
        {"a": shard(table, "a"), "o": shard(other, "o")},
    )
    (stays,) = left(pipeline, {"a": shard(table, "a")})["a"]
    assert len(pipeline.steps[0].fitted["stays"]) == 1

    later = {"new": rows(kinds, ["m", "n"], [0, 0], **values), "edited": table}
    found = left(pipeline, {name: shard(content, name) for name, content in later.items()})

    assert found == {"new": [], "edited": [stays]}


def test_a_fitted_shard_gives_way_and_an_edited_one_keeps(kinds, rows, shard, settings):
    """Without ids, a shard edited after the fit keeps one copy, so that none is ever lost."""
    table = rows(kinds, ["k", "k"], [0, 0], x=[1, 1], c=["u", "u"], y=["a", "a"])
    fitted = {"a": shard(table, "a"), "b": shard(table, "b")}
    pipeline = fit_pipeline(settings(("drop_duplicates", [], {})), kinds, fitted)

    found = left(pipeline, {"b": fitted["b"], "edited": shard(table, "edited")})

    assert {name: len(keys) for name, keys in found.items()} == {"b": 0, "edited": 1}


def test_images_count_as_content(columns, rows, shard, settings):
    """Two images are duplicates when every pixel agrees."""
    kinds = columns(i="image", y="label")
    pixels = [[[1, 2], [3, 4]], [[1, 2], [3, 5]], [[1, 2], [3, 4]]]
    table = rows(kinds, "abc", [0, 0, 0], i=pixels, y=["a"] * 3)
    shards = {"s": shard(table)}

    pipeline = fit_pipeline(settings(("drop_duplicates", [], {})), kinds, shards)

    assert len(left(pipeline, shards)["s"]) == 2


def test_a_step_after_everything_was_dropped(kinds, rows, shard, settings):
    """A fitted step that no training row reaches says so."""
    table = rows(kinds, [0], [0], x=[1], c=["u"], y=["a"])
    drop = ("filter", ["x"], {"min": 9})

    with pytest.raises(DataError, match=r"steps\.1: no training row is left"):
        fit_pipeline(
            settings(drop, ("impute", ["x"], {"strategy": "mean"})), kinds, {"s": shard(table)}
        )
    with pytest.raises(DataError, match="no training row is left to balance"):
        fit_pipeline(settings(drop, ("balance", [], {"ratio": 1})), kinds, {"s": shard(table)})


@pytest.fixture
def uneven(kinds, rows):
    """Training rows of three classes, 100, 1000 and 150, then rows of other folds."""
    labels = ["few"] * 100 + ["many"] * 1000 + ["some"] * 150 + ["few", "many", "new"] * 3
    folds = [0] * 1250 + [1] * 3 + [2] * 3 + [3] * 3
    count = len(labels)
    return rows(kinds, range(count), folds, x=[1] * count, c=["u"] * count, y=labels)


def test_balance_thins_out_larger_classes(kinds, rows, shard, settings):
    """Classes come out at about ratio times the smallest; the smallest stays whole."""
    labels = ["few"] * 100 + ["many"] * 1000 + ["some"] * 150
    count = len(labels)
    table = rows(kinds, range(count), [0] * count, x=[1] * count, c=["u"] * count, y=labels)
    pipeline = fit_pipeline(settings(("balance", [], {"ratio": 2})), kinds, {"s": shard(table)})

    out = pipeline.shard("s").apply(table)["y"].to_pylist()

    assert out.count("few") == 100
    assert out.count("some") == 150
    assert 160 < out.count("many") < 240


def test_balance_refuses_regression(columns, rows, shard, settings):
    """Numbers have no classes to balance."""
    kinds = columns(task="regression", x="numeric", y="label")
    table = rows(kinds, [0], [0], x=[1], y=[1.0])

    with pytest.raises(SettingsError, match="it balances classes; the task is regression"):
        fit_pipeline(settings(("balance", [], {"ratio": 2})), kinds, {"s": shard(table)})


def test_balance_repeats_rows_of_smaller_classes(kinds, uneven, shard, settings):
    """Classes come out at no less than the largest over ratio; none loses a row."""
    step = ("balance", [], {"ratio": 2, "sampling": "up"})
    pipeline = fit_pipeline(settings(step), kinds, {"s": shard(uneven)}).shard("s")

    out = pipeline.apply(uneven)

    counts = Counter(out.filter(tables.folds(out) == 0)["y"].to_pylist())
    assert counts["many"] == 1000
    assert counts["few"] == 500
    assert 460 < counts["some"] < 540
    assert set(uneven["_key"].to_pylist()) <= set(out["_key"].to_pylist())


def test_balance_repeats_training_rows_alone(kinds, uneven, shard, settings):
    """Rows of validation, test and outside leave as they came, once each."""
    step = ("balance", [], {"ratio": 1, "sampling": "up"})
    pipeline = fit_pipeline(settings(step), kinds, {"s": shard(uneven)}).shard("s")

    out = pipeline.apply(uneven)

    assert out.filter(tables.folds(out) != 0).equals(uneven.slice(1250))


def test_copies_have_keys_of_their_own(kinds, uneven, shard, settings):
    """No two rows share a key, in whatever batches and shards they come."""
    step = ("balance", [], {"ratio": 1, "sampling": "up"})
    pipeline = fit_pipeline(settings(step), kinds, {"s": shard(uneven)})

    whole = pipeline.shard("s").apply(uneven)["_key"].to_pylist()
    parts = [pipeline.shard(name).apply(uneven.slice(*place)) for name, place in PARTS.items()]
    cut = [key for part in parts for key in part["_key"].to_pylist()]

    assert len(set(whole)) == len(whole) > 2900
    assert sorted(cut) == sorted(whole)


PARTS = {"b": (700, 700), "a": (0, 60), "c": (60, 640)}


def test_copies_do_not_share_noise(kinds, uneven, shard, settings):
    """A step after it draws for each copy anew."""
    steps = [("balance", [], {"ratio": 1, "sampling": "up"}), ("noise", ["x"], {"sd": 1})]
    pipeline = fit_pipeline(settings(*steps), kinds, {"s": shard(uneven)})

    out = pipeline.shard("s").apply(uneven)

    training = out.filter(tables.folds(out) == 0)["x"].to_numpy()
    assert len(np.unique(training)) == len(training)


def test_added_rows_are_accounted_for(kinds, uneven, shard, settings, tmp_path):
    """Rows out are rows in, less those dropped, and those added, which the table says by step."""
    steps = settings(("balance", [], {"ratio": 4}), ("balance", [], {"ratio": 1, "sampling": "up"}))
    kinds.save(tmp_path / "columns.json")
    source, state = shard(uneven), tmp_path / "state.json"

    transform_fit(steps, tmp_path / "columns.json", {"s": source.path}, state)
    transform(source.path, "s", state, tmp_path / "out.parquet")

    out = Table(tmp_path / "out.parquet")
    record = out.record
    assert record["dropped"]["balance"] > 500
    assert record["added"]["balance"] > 300
    dropped, added = record["dropped"]["balance"], record["added"]["balance"]
    assert out.rows == record["rows_in"] - dropped + added


def test_an_image_row_can_be_repeated(columns, rows, shard, settings):
    """Copies hold the row's images."""
    kinds = columns(i="image", y="label")
    pixels = [[[n, n], [n, n]] for n in range(5)]
    table = rows(kinds, range(5), [0] * 5, i=pixels, y=["a"] * 4 + ["b"])
    step = ("balance", [], {"ratio": 1, "sampling": "up"})

    out = fit_pipeline(settings(step), kinds, {"s": shard(table)}).shard("s").apply(table)

    images = tables.images(out, "i")
    assert images[:, 0, 0].tolist() == [0, 1, 2, 3, 4, 4, 4, 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "options.ratio: setting is missing"),
        ({"ratio": 0.5}, "options.ratio: Input should be greater than or equal to 1"),
        ({"ratio": 1, "sampling": "over"}, r"options.sampling: .*not 'over'"),
    ],
)
def test_bad_options_are_one_line(kinds, uneven, shard, settings, options, message):
    """An option that does not fit is refused when the step is fitted, in one line."""
    with pytest.raises(SettingsError, match=message) as caught:
        fit_pipeline(settings(("balance", [], options)), kinds, {"s": shard(uneven)})
    assert "\n" not in str(caught.value)
