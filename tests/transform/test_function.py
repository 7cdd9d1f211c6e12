"""A step that is a function of the user's."""

from __future__ import annotations

import pytest

from shoal.errors import ModelError, SettingsError
from shoal.transform.pipeline import Pipeline, fit_pipeline

MODULE = """
def double(value, by=2):
    return None if value is None else value * by

def jitter(value, rng, scale=1.0):
    return value + scale * rng.normal()

def fails(value):
    return 1 / value

def counts(value):
    return len(value)

constant = 7
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Functions in a module of the current directory, of another name in each test."""
    name = f"steps_{abs(hash(tmp_path.name))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


@pytest.fixture
def kinds(columns):
    """A number, a text and a class."""
    return columns(x="numeric", z="numeric", t="text", y="label")


@pytest.fixture
def fitted(kinds, rows, shard, settings):
    """A pipeline of one function on some columns, and four rows: two train, one tests, one not."""
    table = rows(
        kinds,
        range(4),
        [0, 0, 1, 2],
        x=[1, None, 3, 4],
        z=[1, 2, 3, 4],
        t=["a", None, "b", "c"],
        y=["n"] * 4,
    )

    def fit(target, names, *, training_only=False, **arguments):
        given = {"_target_": target, "training_only": training_only}
        options = given | ({"arguments": arguments} if arguments else {})
        steps = settings(("function", names, options))
        return fit_pipeline(steps, kinds, {"s": shard(table)}), table

    return fit


def test_a_function_changes_each_value(fitted, module):
    """It gets numbers, texts and None where they are missing, and its arguments."""
    pipeline, table = fitted(f"{module}.double", ["x", "t"], by=3)

    out = pipeline.shard("s").apply(table)

    assert out["x"].to_pylist() == [3.0, None, 9.0, 12.0]
    assert out["t"].to_pylist() == ["aaa", None, "bbb", "ccc"]


def test_a_function_for_training_rows_leaves_others(fitted, module):
    """Where it says so, rows of other folds and rows to predict stay as they are."""
    pipeline, table = fitted(f"{module}.double", ["z"], training_only=True)

    out = pipeline.shard("s").apply(table)

    assert out["z"].to_pylist() == [2.0, 4.0, 3.0, 4.0]
    assert pipeline.predict(table, "new.csv").equals(table)


def test_a_function_draws_by_row_and_column(fitted, module):
    """Its generator is the same for a row in any place, another for each row and column."""
    pipeline, table = fitted(f"{module}.jitter", ["z"], training_only=True, scale=0.5)
    both, _ = fitted(f"{module}.jitter", ["z", "x"], training_only=True)

    out = pipeline.shard("s").apply(table)["z"].to_pylist()
    turned = pipeline.shard("s").apply(table.take([1, 0]))["z"].to_pylist()

    assert turned == out[1::-1]
    assert out[0] - 1 != out[1] - 2
    first = both.shard("s").apply(table.slice(0, 1))
    assert first["z"][0].as_py() != first["x"][0].as_py()


def test_a_stored_function_is_imported_when_it_is_called(fitted, module):
    """Reading a state runs no code of the user's; the state names what predicting calls."""
    pipeline, table = fitted(f"{module}.double", ["z"])
    state = pipeline.state()
    state["steps"][0]["options"]["_target_"] = "absent.double"

    again = Pipeline.from_state(state)

    assert again.targets == ["absent.double"]
    with pytest.raises(ModelError, match="there is no module 'absent'"):
        again.predict(table, "new.csv")
    assert fitted(f"{module}.double", ["z"], training_only=True)[0].targets == []


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("absent.f", r"steps\.0 \(function\): absent\.f: there is no module 'absent'"),
        ("{}.dubble", r"has no 'dubble'; did you mean 'double'"),
        ("{}.constant", "constant is no function"),
        ("double", "not a dotted path"),
    ],
)
def test_a_function_that_does_not_import_is_one_line(fitted, module, target, message):
    """What is wrong is found when the step is fitted, before any row is read."""
    with pytest.raises(ModelError, match=message) as caught:
        fitted(target.format(module), ["z"])
    assert "\n" not in str(caught.value)


def test_a_function_that_fails_is_named_with_the_value(fitted, module):
    """Its error is one line with row, column and value."""
    pipeline, table = fitted(f"{module}.fails", ["x"])
    problem = r"fails fails on s: row 2, column 'x', value None: TypeError"

    with pytest.raises(ModelError, match=problem) as caught:
        pipeline.shard("s").apply(table)
    assert "\n" not in str(caught.value)


def test_a_function_must_return_what_fits_the_column(fitted, module):
    """A number for a text is refused."""
    pipeline, table = fitted(f"{module}.counts", ["t"])
    problem = r"counts makes 1 of s: row 1, column 't', value 'a'; column 't' is text"

    with pytest.raises(ModelError, match=problem):
        pipeline.shard("s").apply(table)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"training_only": True}, "options._target_: setting is missing"),
        ({"_target_": "{}.double"}, "options.training_only: setting is missing"),
        ({"_target_": "{}.jitter", "training_only": False}, "jitter draws .*training rows alone"),
        ({"_target_": "{}.double", "training_only": True, "by": 3}, "options.by: unknown setting"),
    ],
)
def test_bad_options_are_one_line(kinds, rows, shard, settings, module, options, message):
    """An option that is missing, unknown or does not fit the function is refused."""
    table = rows(kinds, [0], [0], x=[1], z=[1], t=["a"], y=["n"])
    given = {
        name: value.format(module) if isinstance(value, str) else value
        for name, value in options.items()
    }

    with pytest.raises(SettingsError, match=message) as caught:
        fit_pipeline(settings(("function", ["z"], given)), kinds, {"s": shard(table)})
    assert "\n" not in str(caught.value)
