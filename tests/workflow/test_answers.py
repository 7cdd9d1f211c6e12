"""Comparison of an experiment's choices at the end of its real small workflow."""

import json
import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from shoal.formats.tables import FOLD, KEY
from tests.workflow.small import nudge_training_rows

GRID = ["cluster.partitions=[2,3]", "seed=[0,1]"]
OVERRIDES = f"['{GRID[0]}','{GRID[1]}']"


def told(experiment, name="report.html"):
    """A file of the answers."""
    return experiment.folder / "results" / "tiny" / "answers" / name


def flip_labels(experiment):
    """Give every fifth row the other label, so that not all variants score the same."""
    for path in sorted((experiment.folder / "data").glob("*.csv")):
        table = pd.read_csv(path)
        other = table["label"].map({"yes": "no", "no": "yes"})
        table["label"] = table["label"].where(table.index % 5 > 0, other)
        table.to_csv(path, index=False)


@pytest.mark.long
def test_variants_are_compared_once_all_of_them_are_published(experiment):
    """Tables, plots and page say what metrics and choices say; `shoal variants` names the page."""
    flip_labels(experiment)

    assert Counter(experiment.run(overrides=OVERRIDES))["answers"] == 1

    variants = pd.read_parquet(told(experiment, "variants.parquet"))
    assert list(variants["validation"]) == sorted(variants["validation"], reverse=True)
    for _, row in variants.iterrows():
        home = experiment.folder / "results" / "tiny" / "variants" / row["variant"]
        metrics = json.loads((home / "metrics.json").read_text())
        if row["pool_chosen"]:
            assert row["test"] == metrics["pool_top1"]["score"]
            assert row["low"] <= row["test"] <= row["high"]
        else:
            assert (metrics["verdict"], np.isnan(row["test"])) == ("not chosen", True)
        assert "../../answers/report.html" in (home / "report.html").read_text()
    assert variants["pool_chosen"].sum() == 2  # one of each seed
    questions = pd.read_parquet(told(experiment, "questions.parquet"))
    assert sorted(questions["seed"]) == ["0", "1"]
    assert set(questions["pool"]) == set(variants["variant"][variants["pool_chosen"]])
    replicates = pd.read_parquet(told(experiment, "replicates.parquet"))
    assert list(replicates["n"]) == [2, 2]
    variation = pd.read_parquet(told(experiment, "variation.parquet"))
    assert {"cluster.partitions", "seed", "lr"} <= set(variation["term"])
    winners = pd.read_parquet(told(experiment, "winners.parquet"))
    losses = pd.read_parquet(told(experiment, "losses.parquet"))
    assert len(losses) == 2 * len(winners)
    best = losses.loc[losses.groupby(["variant", "partition"])["loss"].idxmin(), "point"]
    assert sorted(best) == sorted(winners["point"])
    assert {path.name for path in told(experiment).parent.glob("*.svg")} == {
        "scores.svg",
        "variation.svg",
        "hyperparameters.svg",
        "winners.svg",
    }

    plot = re.search(r'<svg class="curves".*?</svg>', told(experiment).read_text(), re.DOTALL)
    assert plot is not None
    assert plot[0].count("<title>Generalist</title>") == 2 * len(variants)

    said = experiment.shoal("variants", "tiny", *GRID).stdout
    assert "What the choices did: results/tiny/answers/report.html\n" in said
    assert experiment.plan(overrides=OVERRIDES) == []
    chosen = f"['{GRID[0]}','{GRID[1]}','variant={variants['variant'][0]}']"
    assert experiment.plan(overrides=chosen) == []


def test_nothing_is_compared_where_there_is_one_of_each(experiment):
    """One variant with one grid point has no such job, and its report no link."""
    assert "answers" not in experiment.plan(overrides="['grid.lr=[0.01]']")
    assert "answers" in experiment.plan()


def test_winners_move_only_where_rows_changed(copied):
    """After a change in one partition the other is said to have the same rows, hence its winner."""
    before = pd.read_parquet(told(copied, "winners.parquet")).set_index("partition")
    nudge_training_rows(copied, 20)

    assert "answers" in copied.run()

    moves = pd.read_parquet(told(copied, "moves.parquet")).set_index("partition")
    after = pd.read_parquet(told(copied, "winners.parquet")).set_index("partition")
    assert moves.loc[1, "what"] == "same rows"
    assert moves.loc[0, "what"] in ("kept", "moved")
    assert list(moves["before"]) == list(before["point"])
    assert list(moves["after"]) == list(after["point"])
    assert before.loc[1].equals(after.loc[1])
    assert before.loc[0, "train"] != after.loc[0, "train"]


def test_labels_of_test_rows_choose_nothing(copied):
    """With every test label turned round, all winners, margins and routes are the same files.

    Of existing tools some choose hyperparameters on the test fold.
    """
    kept = ("choices", "router", "gate", "pool", "specialists")
    before = {p for kind in kept for p in (copied.generation / kind).rglob("*") if p.is_file()}
    winners = pd.read_parquet(told(copied, "winners.parquet"))
    score = copied.metrics()["pool_top1"]["score"]
    turn_test_labels(copied)

    ran = set(copied.run())

    assert "evaluate" in ran
    assert not {"train_specialist", "train_choose", "train_router", "gate", "pool"} & ran
    after = {p for kind in kept for p in (copied.generation / kind).rglob("*") if p.is_file()}
    assert after == before
    pd.testing.assert_frame_equal(pd.read_parquet(told(copied, "winners.parquet")), winners)
    assert copied.metrics()["pool_top1"]["score"] != pytest.approx(score)


def turn_test_labels(experiment):
    """Give every row of the test fold the other label."""
    for path in experiment.generation.glob("split/*/rows/*/*.parquet"):
        test = {key for key, fold in zip(*_keys_and_folds(path), strict=True) if fold == 2}
        _turn_labels(experiment, path, test)


def _keys_and_folds(path):
    table = pd.read_parquet(path, columns=[KEY, FOLD])
    return table[KEY], table[FOLD]


def _turn_labels(experiment, path, keys):
    """Write the other label into the source rows of a split table that have these keys."""
    table = pd.read_parquet(path)
    for source in (experiment.folder / "data").glob("*.csv"):
        rows = pd.read_csv(source)
        if len(rows) == len(table) and rows["a"].equals(table["a"]):
            turned = table[KEY].isin(keys)
            other = rows["label"].map({"yes": "no", "no": "yes"})
            rows["label"] = rows["label"].where(~turned, other)
            rows.to_csv(source, index=False)
            return
    raise AssertionError(f"{path}: no source file has its rows")
