"""Classes of similar size."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from shoal.errors import SettingsError
from shoal.formats import tables
from shoal.formats.tables import Table
from shoal.transform.command import transform, transform_fit
from shoal.transform.pipeline import fit_pipeline


@pytest.fixture
def kinds(columns):
    """A number, a category and a class."""
    return columns(x="numeric", c="categorical", y="label")


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
