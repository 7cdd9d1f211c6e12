"""Steps that change values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from shoal.errors import DataError, SettingsError, SourceError
from shoal.transform.pipeline import fit_pipeline


@pytest.fixture
def applied(columns, rows, shard, settings):
    """Fits one step on a table with columns x (numeric), c (categorical) and applies it to it."""

    def apply(step, names, options, folds, **values):
        given = {"x": "numeric", "c": "categorical"}
        kinds = columns(**{name: given[name] for name in values}, y="label")
        count = len(folds)
        table = rows(kinds, range(count), folds, y=["a"] * count, **values)
        pipeline = fit_pipeline(settings((step, names, options)), kinds, {"s": shard(table)})
        return pipeline.shard("s").apply(table)

    return apply


@pytest.mark.parametrize(
    ("strategy", "filled"), [("mean", 3.0), ("median", 1.0), ("most_frequent", 1.0)]
)
def test_impute_fills_numbers_from_training_rows(applied, strategy, filled):
    """Gaps in every fold are filled with what the training fold holds."""
    values = [1.0, 1.0, 7.0, None, None, 100.0]

    out = applied("impute", ["x"], {"strategy": strategy}, [0, 0, 0, 0, 2, 1], x=values)

    assert out["x"].to_pylist() == [1.0, 1.0, 7.0, filled, filled, 100.0]


def test_impute_of_equally_frequent_values_takes_the_first(applied):
    """A tie goes to the value that sorts first."""
    out = applied("impute", ["c"], {"strategy": "most_frequent"}, [0, 0, 0], c=["b", "a", None])

    assert out["c"].to_pylist() == ["b", "a", "a"]


def test_impute_a_constant(applied):
    """A constant needs no training value."""
    out = applied("impute", ["c"], {"strategy": "constant", "value": "none"}, [0], c=[None])

    assert out["c"].to_pylist() == ["none"]


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["c"], {"strategy": "mean"}, "column 'c' has no mean"),
        (["c"], {"strategy": "constant", "value": 3}, "does not fit categorical 'c'"),
        (["x"], {"strategy": "constant", "value": "3"}, "does not fit numeric 'x'"),
        (["x"], {"strategy": "constant"}, "'value' goes with strategy 'constant'"),
        (["x"], {"strategy": "mean", "value": 3}, "'value' goes with strategy 'constant'"),
    ],
)
def test_impute_refuses_what_does_not_fit(applied, names, options, message):
    """A strategy that a column cannot have is named."""
    with pytest.raises(SettingsError, match=message):
        applied("impute", names, options, [0], x=[1.0], c=["a"])


def test_impute_without_any_training_value(applied):
    """A column that is empty in the training fold is named."""
    with pytest.raises(
        DataError, match=r"impute\): column 'x' has no value in the 1 training rows"
    ):
        applied("impute", ["x"], {"strategy": "mean"}, [0, 1], x=[None, 3.0])


def test_clip_at_values_keeps_gaps(applied):
    """Values beyond a bound become the bound; a missing value stays missing."""
    out = applied("clip", ["x"], {"low": 0, "high": 2}, [0] * 4, x=[-1.0, None, 1.0, 3.0])

    assert out["x"].to_pylist() == [0.0, None, 1.0, 2.0]


def test_clip_at_quantiles_of_training_rows(applied):
    """Quantiles are those of the training fold; one side may stay open."""
    out = applied("clip", ["x"], {"high_quantile": 0.5}, [0, 0, 0, 2], x=[-9.0, 1.0, 5.0, 70.0])

    assert out["x"].to_pylist() == [-9.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give a bound"),
        ({"low": 1, "low_quantile": 0.1}, "low or low_quantile, not both"),
        ({"low": 2, "high": 1}, "the lower bound 2.0 is above 1.0"),
        ({"hihg": 2}, "did you mean 'high'"),
    ],
)
def test_clip_refuses_bounds_that_do_not_fit(applied, options, message):
    """No bound, two of a side, or bounds in the wrong order are refused."""
    with pytest.raises(SettingsError, match=message):
        applied("clip", ["x"], options, [0], x=[1.0])


def test_clip_refuses_bounds_that_cross_once_fitted(applied):
    """A given bound beyond a fitted one is found when fitting."""
    with pytest.raises(DataError, match="column 'x': the lower bound 8 is above 2"):
        applied("clip", ["x"], {"low": 8, "high_quantile": 1}, [0, 0], x=[1.0, 2.0])


def test_log_is_of_one_plus_the_value(applied):
    """0 stays 0, a missing value stays missing."""
    out = applied("log", ["x"], {}, [0, 0, 1], x=[0.0, None, np.e - 1])

    assert out["x"].to_pylist() == [0.0, None, pytest.approx(1.0)]


def test_log_names_the_value_that_has_none(applied):
    """A value of -1 or below is named with shard, row, column and value."""
    with pytest.raises(SourceError, match=r"s: row 3, column 'x': log\(1 \+ value\).* for -1;"):
        applied("log", ["x"], {}, [0, 1, 2], x=[0.0, None, -1.0])


def test_lower(applied):
    """Letters become lower case, gaps stay."""
    out = applied("lower", ["c"], {}, [0, 0, 1], c=["ÀB", None, "cD"])

    assert out["c"].to_pylist() == ["àb", None, "cd"]


def test_noise_blurs_training_rows_alone(applied):
    """Only present values of training rows move."""
    out = applied("noise", ["x"], {"sd": 1}, [0, 1, 2, 3, 0], x=[5.0, 5.0, 5.0, 5.0, None])

    first, *others = out["x"].to_pylist()
    assert first != 5.0
    assert others == [5.0, 5.0, 5.0, None]


def test_noise_is_gaussian_with_the_given_sd(applied):
    """The noise of many rows is normal with mean 0 and the standard deviation asked for."""
    count = 2000

    out = applied("noise", ["x"], {"sd": 3}, [0] * count, x=[0.0] * count)

    assert kstest(out["x"].to_numpy(), "norm", args=(0, 3)).pvalue > 0.01


def test_noise_is_a_function_of_seed_key_step_and_column(columns, rows, shard, settings):
    """A row's noise is the same in any place; another column, step or seed draws its own."""
    kinds = columns(u="numeric", v="numeric", y="label")
    table = rows(kinds, ["p", "q"], [0, 0], u=[0, 0], v=[0, 0], y=["a", "a"])
    step = ("noise", ["u", "v"], {"sd": 1})

    def noise(table, *steps, seed=0):
        pipeline = fit_pipeline(settings(*steps, seed=seed), kinds, {"s": shard(table)})
        return pipeline.shard("s").apply(table)

    once = noise(table, step)
    turned = noise(table.take([1, 0]), step)
    twice = noise(table, step, step)

    assert turned.take([1, 0]).equals(once)
    first = once["u"][0].as_py()
    assert once["v"][0].as_py() != first
    assert once["u"][1].as_py() != first
    assert twice["u"][0].as_py() != 2 * first
    assert noise(table, step, seed=1)["u"][0].as_py() != first
