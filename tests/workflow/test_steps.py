"""A run with steps that augment, repeat rows and call the user's function."""

import re

import pandas as pd
import pytest

import shoal
from shoal.errors import ModelError
from shoal.formats.tables import Table
from tests.workflow.small import Experiment, set_up

STEPS = """
transform:
  steps:
    - step: function
      columns: [b]
      options: {_target_: my_steps.shifted, training_only: false, arguments: {by: 100}}
    - {step: mask, columns: [a], options: {share: 0.1}}
    - {step: impute, columns: [a], options: {strategy: median}}
    - {step: balance, options: {ratio: 1, sampling: up}}
    - {step: noise, columns: [a, b], options: {sd: 0.01}}
"""


@pytest.fixture(scope="module")
def augmented(warm, tmp_path_factory):
    """An experiment with steps and a k-fold that has run to the end."""
    made = set_up(tmp_path_factory.mktemp("steps") / "experiment")
    settings = made.folder / "config" / "experiment" / "tiny.yaml"
    settings.write_text(settings.read_text() + STEPS)
    (made.folder / "my_steps.py").write_text("def shifted(value, by):\n    return value + by\n")
    experiment = Experiment(made.folder, warm.bin)
    experiment.run(overrides="[split=k_fold,split.fold=2]")
    return experiment


def tables(experiment, stage):
    """The stage's tables by shard."""
    return {path.stem: path for path in experiment.generation.glob(f"{stage}/*/rows/*/*.parquet")}


def test_rows_dropped_and_added_are_accounted_for(augmented):
    """Each shard says how many rows came to it, and the report finds none missing."""
    added = 0
    for path in tables(augmented, "transform").values():
        table = Table(path)
        added += table.record["added"]["balance"]
        assert table.rows == 150 + table.record["added"]["balance"]
        table.close()
    page = (augmented.folder / "results" / "tiny" / "report.html").read_text()

    assert added > 0
    assert '<p class="bad">' not in page
    assert re.search(rf"Added by balance.*{added}", page, re.DOTALL)


def test_only_training_rows_are_augmented(augmented):
    """Rows of validation and test come out as they went in, but for the step that is for all."""
    split, transformed = (tables(augmented, stage) for stage in ("split", "transform"))
    for shard, path in split.items():
        before, after = pd.read_parquet(path), pd.read_parquet(transformed[shard])
        before["b"] += 100
        others, same = (each[each["_fold"] > 0].reset_index(drop=True) for each in (before, after))
        training = after[after["_fold"] == 0]

        pd.testing.assert_frame_equal(same, others)
        assert not training["a"].isin(before["a"]).any()


def test_a_pool_calls_a_users_function_only_where_it_is_trusted(augmented, monkeypatch):
    """Loading a pool whose transform is the user's names the module; trusted, it predicts."""
    pool = augmented.folder / "results" / "tiny" / "pool"
    table = pd.read_csv(augmented.folder / "data" / "part-1.csv")

    with pytest.raises(ModelError, match=r"the pool's transform is my_steps\.shifted; .*my_steps"):
        shoal.load(pool)
    monkeypatch.chdir(augmented.folder)
    monkeypatch.syspath_prepend(str(augmented.folder))
    predicted = shoal.load(pool, trust=["my_steps"]).predict(table).to_pandas()

    assert (predicted["prediction"] == table["label"]).mean() > 0.7


def test_a_changed_function_is_said_and_runs_what_applies_it(augmented):
    """Its file counts as code: other rows come of it, and the fit says that it is due."""
    file = augmented.folder / "my_steps.py"
    file.write_text(file.read_text() + "\nCHANGED = 1\n")

    result = augmented.snakemake("-n", overrides="[split=k_fold,split.fold=2]")

    assert "refit needed: the code of transform" in result.stderr
    assert "rule transform:" in result.stdout + result.stderr
    assert "rule split:" not in result.stdout + result.stderr
