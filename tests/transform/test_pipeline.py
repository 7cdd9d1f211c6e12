"""Steps in order, and their commands."""

from __future__ import annotations

import pytest

from shoal.errors import CorruptError, SettingsError, SourceError
from shoal.formats.hashing import json_hash
from shoal.formats.json_file import write_json
from shoal.formats.tables import Table, write_table
from shoal.transform.command import transform, transform_fit
from shoal.transform.pipeline import Pipeline, fit_pipeline


@pytest.fixture
def kinds(columns):
    """A number, a category and a class."""
    return columns(x="numeric", c="categorical", y="label")


def test_a_step_is_fitted_on_what_earlier_steps_leave(kinds, rows, shard, settings):
    """Clipping and filtering come before the mean that is imputed."""
    table = rows(kinds, range(4), [0] * 4, x=[1, 100, -5, None], c=["u"] * 4, y=["a"] * 4)
    steps = [
        ("filter", ["x"], {"not_equals": -5}),
        ("clip", ["x"], {"high": 3}),
        ("impute", ["x"], {"strategy": "mean"}),
    ]

    pipeline = fit_pipeline(settings(*steps), kinds, {"s": shard(table)})

    assert pipeline.shard("s").apply(table)["x"].to_pylist() == [1.0, 3.0, 2.0]


def test_without_steps_rows_stay_where_they_are(kinds, rows, shard, settings, tmp_path):
    """The transformed table holds its own record and no copy of the rows."""
    table = rows(kinds, range(2000), [0] * 2000, x=range(2000), c=["u"] * 2000, y=["a"] * 2000)
    source = shard(table)
    fitted = fit_pipeline(settings(), kinds, {"s": source}).state()
    write_json(tmp_path / "state.json", fitted)

    transform(source.path, "s", tmp_path / "state.json", tmp_path / "out.parquet")

    out = Table(tmp_path / "out.parquet")
    (found,) = out.batches(10_000)
    assert found.equals(table)
    assert out.path.stat().st_size < source.path.stat().st_size / 4
    assert out.record | {"dropped": {}, "rows_in": 2000} == out.record
    assert out.record["state"] == json_hash(fitted)


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_fits_see_the_training_fold_alone(kinds, rows, shard, settings, fold):
    """Other values in another fold change no fitted state."""
    steps = settings(
        ("impute", ["x"], {"strategy": "mean"}),
        ("clip", ["x"], {"high_quantile": 0.9}),
        ("drop_duplicates", [], {}),
        ("balance", [], {"ratio": 1}),
    )

    def state(other):
        labels = ["a", "a", "b", other]
        table = rows(
            kinds, range(4), [0, 0, 0, fold], x=[1, 2, 3, len(other)], c=["u"] * 4, y=labels
        )
        return fit_pipeline(steps, kinds, {"s": shard(table)}).state()

    assert state("a") == state("something else")


def test_the_fit_reads_at_most_fit_rows(kinds, rows, shard, settings):
    """A fitted step sees the sample only."""
    table = rows(kinds, range(9), [0] * 9, x=range(9), c=["u"] * 9, y=["a"] * 9)
    step = ("impute", ["x"], {"strategy": "mean"})

    pipeline = fit_pipeline(settings(step, fit_rows=1), kinds, {"s": shard(table)})

    assert pipeline.steps[0].fitted["x"] in range(9)
    assert pipeline.steps[0].fitted["x"] != 4.0


def test_a_value_is_named_by_its_place_in_the_shard(kinds, rows, shard, settings):
    """A bad value found while fitting a later step is still told by shard and row."""
    table = rows(kinds, range(3), [1, 0, 0], x=[1, 1, -2], c=["u"] * 3, y=["a"] * 3)
    steps = [
        ("clip", ["x"], {"high_quantile": 1}),
        ("log", ["x"], {}),
        ("impute", ["x"], {"strategy": "mean"}),
    ]

    with pytest.raises(SourceError, match="s: row 3, column 'x'"):
        fit_pipeline(settings(*steps), kinds, {"s": shard(table)})


def test_a_value_is_named_by_its_source_file_where_that_is_known(
    kinds, rows, settings, tmp_path, shard
):
    """A table that records its source file is named by it, when fitting and when applying."""
    table = rows(kinds, range(2), [0, 0], x=[1, -2], c=["u"] * 2, y=["a"] * 2)
    path = tmp_path / "t.parquet"
    write_table(path, table.schema, [table], {"rows_in": 2, "dropped": {}, "source": "my.csv"})
    log = ("log", ["x"], {})
    fine = {"s": shard(table.slice(0, 1))}
    write_json(tmp_path / "state.json", fit_pipeline(settings(log), kinds, fine).state())

    with pytest.raises(SourceError, match=r"my\.csv: row 2, column 'x'"):
        fit_pipeline(settings(log, ("clip", ["x"], {"low": 0})), kinds, {"s": Table(path)})
    with pytest.raises(SourceError, match=r"my\.csv: row 2, column 'x'"):
        transform(path, "s", tmp_path / "state.json", tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (("imput", ["x"], {}), r"transform\.steps\.0: there is no step 'imput'.*'impute'"),
        (("lower", ["cc"], {}), r"steps\.0 \(lower\): there is no column 'cc'; did you mean 'c'"),
        (("lower", [], {}), "name the columns it works on"),
        (("lower", ["c", "c"], {}), "names a column twice"),
        (("lower", ["x"], {}), "column 'x' is numeric, but the step works on categorical, text"),
        (("log", ["y"], {}), "column 'y' is label"),
        (("lower", ["c"], {"upper": 1}), "options.upper: unknown setting"),
        (("noise", ["x"], {}), "options.sd: setting is missing"),
    ],
)
def test_steps_that_do_not_fit_are_refused(kinds, rows, shard, settings, step, message):
    """An unknown step, column or option is one line with the nearest known one."""
    table = rows(kinds, [0], [0], x=[1], c=["u"], y=["a"])

    with pytest.raises(SettingsError, match=message) as caught:
        fit_pipeline(settings(step), kinds, {"s": shard(table)})
    assert "\n" not in str(caught.value)


def test_commands_keep_account_of_every_row(kinds, rows, shard, settings, tmp_path):
    """Rows out and rows dropped, by step, are rows in; the state survives its file."""
    table = rows(kinds, range(5), [0, 0, 0, 0, 1], x=[1, 1, 9, None, 9], c=["u"] * 5, y=["a"] * 5)
    source = shard(table)
    kinds.save(tmp_path / "columns.json")
    steps = settings(
        ("filter", ["x"], {"max": 5}),
        ("filter", ["x"], {"not_missing": True}),
        ("drop_duplicates", [], {}),
        ("lower", ["c"], {}),
    )

    transform_fit(steps, tmp_path / "columns.json", {"s": source.path}, tmp_path / "state.json")
    transform(source.path, "s", tmp_path / "state.json", tmp_path / "out.parquet")

    out = Table(tmp_path / "out.parquet")
    assert out.record["rows_in"] == 5
    assert out.record["dropped"] == {"filter": 2, "drop_duplicates": 1}
    assert out.rows + sum(out.record["dropped"].values()) == out.record["rows_in"]
    assert out.schema == source.schema


def test_the_state_is_the_same_for_shards_in_any_order(kinds, rows, shard, settings, tmp_path):
    """Fitting on the same shards, named alike, gives the same file."""
    kinds.save(tmp_path / "columns.json")
    values = [0.1, 0.7, 1e9, 3.3, -2.0, 1e-9]
    table = rows(kinds, range(6), [0] * 6, x=values, c=["u"] * 6, y=["a", "b"] * 3)
    parts = {"p": shard(table.slice(0, 2), "p").path, "q": shard(table.slice(2), "q").path}
    steps = settings(("impute", ["x"], {"strategy": "mean"}), ("balance", [], {"ratio": 1}))

    transform_fit(steps, tmp_path / "columns.json", parts, tmp_path / "1.json")
    turned = dict(reversed(parts.items()))
    transform_fit(steps, tmp_path / "columns.json", turned, tmp_path / "2.json")

    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()


def test_no_steps_change_nothing(kinds, rows, shard, settings):
    """An empty list of steps is a pipeline that leaves rows as they are."""
    table = rows(kinds, range(2), [0, 1], x=[1, None], c=["u", None], y=["a", "b"])
    pipeline = fit_pipeline(settings(), kinds, {"s": shard(table)})

    again = Pipeline.from_state(pipeline.state()).shard("s")

    assert again.apply(table).equals(table)
    assert again.record == {"rows_in": 2, "dropped": {}}


def test_a_state_that_is_none_is_refused(tmp_path, kinds, rows, shard):
    """A state file with other content is named."""
    (tmp_path / "state.json").write_text('{"steps": [{"step": "impute"}]}')
    source = shard(rows(kinds, [0], [0], x=[1], c=["u"], y=["a"]))

    with pytest.raises(CorruptError, match=r"state\.json: steps\.0\.columns: key is missing"):
        transform(source.path, "s", tmp_path / "state.json", tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()
