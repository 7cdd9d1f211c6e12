"""`continuing=auto`: models continue with history or without, as the rows that arrived say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from shoal.cli.stage_command import StageJob
from shoal.evaluate.mixes import _Link
from shoal.explore.query.database import Database
from shoal.explore.query.results import Results
from shoal.formats.row_store import ShardRows
from shoal.plan.paths import inputs
from shoal.plan.plan import Plan
from shoal.plan.stages import STAGES
from tests.workflow.small import Experiment, as_config, write_wave
from tests.workflow.test_continuing import index

if TYPE_CHECKING:
    from numpy.typing import NDArray

AUTO = ("continuing=auto", "continuing.history=1")
ON = as_config(*AUTO)


@pytest.fixture(scope="module")
def waves(finished: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """An experiment after two waves; before the second one the generalist has continued."""
    own = finished.copy(tmp_path_factory.mktemp("mixes") / "experiment")
    for number in (3, 4):
        write_wave(own, number, 240)
        assert own.run(overrides=ON).count("compare_mixes") == 1
    return own


def mixes(experiment: Experiment) -> dict[str, Any]:
    """What its index says of mixes."""
    return dict(index(experiment)["mixes"])


def test_models_continue_by_the_mix_that_was_better_on_the_rows_that_arrived(waves):
    told, found = mixes(waves), index(waves)
    losses = {each["history"]: each["loss"] for each in told["mixes"]}
    assert told["reason"] is None
    assert told["rows"] > 100
    assert losses[told["history"]] == min(losses.values()) < max(losses.values())
    for continued in (found["continued"], *(each["continued"] for each in found["partitions"])):
        assert continued["links"] == 2
        assert continued["drawn"] == told["history"] * continued["added"]
        assert continued["mixing"]["history"] == told["history"]


def test_at_first_models_continue_with_history(waves):
    (reason,) = [found["reason"] for found in _found(waves) if found["reason"]]
    assert reason == "the generalist did not continue in the release before"


def test_what_comparisons_take_is_part_of_what_the_pool_costs(waves, monkeypatch):
    monkeypatch.chdir(waves.folder)
    layout = Plan("tiny", list(AUTO), Path("config")).layout
    found = layout.read_index()
    assert found is not None
    ledgers = inputs(layout, STAGES["pool"], {}, found)["ledgers"]
    assert layout.file("compare_mixes.mixes") in ledgers
    spent = [each["spent"] for each in _found(waves)]
    assert mixes(waves)["spent"] == max(spent) > min(spent) == 0


def test_a_table_has_the_mix_of_each_release(waves):
    database = Database(Results(waves.folder / "results" / "tiny"))
    rows = database.ask("SELECT number, history FROM prequential ORDER BY number").rows
    assert list(rows) == [(1, None), (2, 1.0), (3, mixes(waves)["history"])]


def test_a_run_without_a_change_compares_nothing(waves):
    assert waves.plan(ON) == []


def test_rows_that_are_gone_are_not_in_the_sample(waves, tmp_path, monkeypatch):
    """Of the wave by which the generalist continued last, every other row is taken out."""
    own = waves.copy(tmp_path / "experiment")
    path = own.folder / "data" / "part-4.csv"
    rows = pd.read_csv(path)
    rows[::2].to_csv(path, index=False)
    write_wave(own, 5)
    monkeypatch.chdir(own.folder)
    plan, trained = Plan("tiny", list(AUTO), Path("config")), []
    monkeypatch.setattr(_Link, "loss", lambda _, rows, asked: trained.append(rows["x"]))
    plan.write_records()
    for job in plan.layout.early_jobs():
        if job.missing and job.rule != "partition":
            options = {**job.wildcards, "threads": 1}
            StageJob(STAGES[job.rule], [plan.run_file], options).do()

    held = {row.tobytes() for store in plan.layout.files("assign.rows") for row in _inputs(store)}
    with_history, alone = ({row.tobytes() for row in x} for x in trained)
    assert alone < with_history <= held


def test_what_was_compared_is_kept_and_checked(waves, tmp_path):
    """By the audit, and by the collection of garbage."""
    own = waves.copy(tmp_path / "experiment")
    assert own.shoal("audit", "tiny", *AUTO).returncode == 0
    assert own.shoal("gc", "tiny", *AUTO, "--remove", "--keep", "1").returncode == 0
    assert own.plan(ON) == []


@pytest.mark.parametrize(
    ("override", "name"),
    [
        ("continuing.history=0", "continuing.history"),
        ("changes.baselines=current", "changes.baselines"),
    ],
)
def test_auto_needs_two_mixes_and_a_generalist_that_continues(experiment, override, name):
    done = experiment.shoal("plan", "tiny", "continuing=auto", override)
    assert done.returncode == 2
    assert name in done.stderr
    assert len(done.stderr.splitlines()) == 1


def _inputs(path: Path) -> NDArray[Any]:
    with ShardRows(path) as store:
        return np.asarray(store.read("x"))


def _found(experiment: Experiment) -> list[dict[str, Any]]:
    paths = experiment.generation.glob("cluster/*/mixes/*/mixes.json")
    return [json.loads(path.read_text())["found"] for path in paths]
