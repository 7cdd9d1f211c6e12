"""What every step that draws promises."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from shoal.formats import tables
from shoal.formats.kinds import TRAIN
from shoal.transform.pipeline import STEPS, fit_pipeline

DNA = "ACGTTGCAACGGTTAACCAGT"
DRAWING = [
    ("noise", ["x", "z"], {"sd": 1}),
    ("mask", ["x", "c", "t"], {"share": 0.3}),
    ("swap", ["x", "z"], {"share": 0.5}),
    ("swap", ["t"], {"share": 0.3}),
    ("chunk", ["t"], {"length": 9, "place": "random"}),
    ("reverse_complement", ["t"], {"share": 0.5}),
    ("balance", [], {"ratio": 1}),
    ("balance", [], {"ratio": 1, "sampling": "up"}),
    ("function", ["z"], {"_target_": "tests.transform.jitter.jitter", "training_only": True}),
]
NAMES = [
    f"{step}-{'-'.join(names) or options.get('sampling', 'down')}"
    for step, names, options in DRAWING
]


@pytest.fixture
def kinds(columns):
    """Columns of every kind that steps draw for."""
    return columns(x="numeric", z="numeric", c="categorical", t="text", y="label")


@pytest.fixture
def table(kinds, rows):
    """Sixty rows, of which two thirds train; each has the same values."""
    folds = [0] * 40 + [1] * 8 + [2] * 8 + [3] * 4
    labels = ["a"] * 30 + ["b"] * 10 + ["a", "b"] * 10
    same = {"x": [1.0] * 60, "z": [2.0] * 60, "c": ["u"] * 60, "t": [DNA] * 60}
    return rows(kinds, range(60), folds, y=labels, **same)


def by_key(*parts):
    """Rows as a mapping from key to values."""
    found = [row for part in parts for row in part.to_pylist()]
    assert len({row["_key"] for row in found}) == len(found)
    return {row["_key"]: row for row in found}


@pytest.mark.parametrize("step", DRAWING, ids=NAMES)
def test_shards_in_any_order_and_cut_give_the_same_rows(kinds, table, shard, settings, step):
    """Neither the order of shards nor how rows are cut into them changes a row."""
    whole = shard(table, "whole")
    pieces = {"b": table.slice(0, 17), "a": table.slice(17, 30), "c": table.slice(47)}
    one = fit_pipeline(settings(step), kinds, {"whole": whole})
    cut = fit_pipeline(settings(step), kinds, {n: shard(t, n) for n, t in pieces.items()})

    first = by_key(one.shard("whole").apply(table))
    later = by_key(*(cut.shard(name).apply(pieces[name]) for name in ("c", "a", "b")))
    turned = by_key(one.shard("whole").apply(table.take(pa.array(np.arange(60)[::-1]))))

    assert later == first
    assert turned == first


@pytest.mark.parametrize("step", DRAWING, ids=NAMES)
def test_augmentation_never_reaches_other_folds(kinds, table, shard, settings, step):
    """Other rows leave as they came, or as without chance, as rows to predict do; not training."""
    pipeline = fit_pipeline(settings(step), kinds, {"s": shard(table)})

    out = pipeline.shard("s").apply(table)

    others = out.filter(pa.array(tables.folds(out) != TRAIN))
    assert others.equals(pipeline.predict(table.slice(40), "new.csv"))
    if step[0] == "chunk":
        assert set(others["t"].to_pylist()) == {DNA[6:15]}
    else:
        assert others.equals(table.slice(40))
    training = out.filter(pa.array(tables.folds(out) == TRAIN))
    assert not training.equals(table.slice(0, 40))


def test_two_noisy_columns_do_not_share_noise(kinds, table, shard, settings):
    """The noise of one column says nothing of that of another."""
    step = ("noise", ["x", "z"], {"sd": 1})
    out = fit_pipeline(settings(step), kinds, {"s": shard(table)}).shard("s").apply(table)

    x, z = out["x"].to_numpy()[:40] - 1, out["z"].to_numpy()[:40] - 2

    assert not np.isclose(x, z).any()
    assert abs(np.corrcoef(x, z)[0, 1]) < 0.4


@pytest.mark.parametrize("step", DRAWING, ids=NAMES)
def test_another_place_in_the_list_draws_anew(kinds, table, shard, settings, step):
    """The same step after another one draws otherwise."""
    before = ("lower", ["c"], {})
    first = fit_pipeline(settings(step), kinds, {"s": shard(table)})
    second = fit_pipeline(settings(before, step), kinds, {"s": shard(table)})

    assert not second.shard("s").apply(table).equals(first.shard("s").apply(table))


def test_every_step_that_draws_is_among_these():
    """A step that is for training rows and is not listed here must not draw."""
    training = {name for name, step in STEPS.items() if step.training_only or step.by_options}

    assert training - {step for step, _, _ in DRAWING} == {"filter", "drop_duplicates"}
