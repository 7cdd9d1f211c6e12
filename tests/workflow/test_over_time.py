"""Rows that arrive are first asked of the pool before, then trained on."""

import shutil
from typing import Any

import numpy as np
import pandas as pd

import shoal
from shoal.explore.query.database import Database
from shoal.explore.query.results import Results
from shoal.plan.history import History
from tests.workflow.small import Experiment, write_rows


def stories(experiment: Experiment) -> list[dict[str, Any]]:
    """What the history says of each release."""
    entries = History(experiment.folder / "results" / "tiny").entries
    return [dict(entry["over_time"]) for entry in entries]


def test_the_pool_before_scores_a_file_that_came(copied, tmp_path):
    """As `predict` does, in one job; the page, the history and a table say so; then it trains."""
    results = copied.folder / "results" / "tiny"
    before = shutil.copytree(results / "pool", tmp_path / "pool")
    assert not (results / "over-time.html").exists()
    write_rows(copied.folder / "data" / "part-3.csv", 3)

    ran = copied.run()

    assert ran.count("evaluate_prequential") == 1
    rows = pd.read_csv(copied.folder / "data" / "part-3.csv")
    said = shoal.load(before).predict(rows.drop(columns="label")).to_pandas()
    right = np.asarray(said["prediction"].to_numpy() == rows["label"].to_numpy())
    first, second = stories(copied)
    scores = second["arrivals"]["scores"]
    assert (scores["rows"], scores["score"]) == (150, right.mean())
    assert [part["score"] for part in scores["running"]] == right.reshape(3, 50).mean(1).tolist()
    assert first["reason"] == "the first release"
    assert second["arrivals"]["previous"] == History(results).entries[0]["release"]
    assert first["made"]["flops"] > second["made"]["flops"] > 0
    assert first["made"]["trained"] == second["made"]["trained"] == 2
    assert "On the last 150 rows that arrived" in (results / "over-time.html").read_text()
    database = Database(Results(results))
    sql = "SELECT number, rows, score, trained FROM prequential ORDER BY number"
    assert list(database.ask(sql).rows) == [(1, None, None, 2), (2, 150, right.mean(), 2)]
    sql = "SELECT sum(rows), count(*) FROM prequential_partitions WHERE number = 2"
    assert list(database.ask(sql).rows) == [(150, 2)]
    assert copied.run() == []
    assert copied.shoal("audit", "tiny").returncode == 0
    assert copied.shoal("gc", "tiny", "--remove", "--keep", "1").returncode == 0
    assert len(list(copied.generation.glob("prequential/*/*/*/*.json"))) == 1


def test_a_pool_before_that_is_gone_fails_no_run(copied):
    """The release is made without that score, and says why."""
    shutil.rmtree(copied.generation / "pool")
    write_rows(copied.folder / "data" / "part-3.csv", 3)

    assert "pool_publish" in copied.run()

    story = stories(copied)[-1]
    assert story["arrivals"]["scores"] is None
    assert "no such file" in story["reason"]
