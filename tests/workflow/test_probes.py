"""Assigners that train probes, on a small real workflow."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from shoal.formats.json_file import read_json
from shoal.plan.plan import Plan
from shoal.report.words import gate_line
from tests.workflow.small import Experiment, set_up
from tests.workflow.spoil import audited

SMALL = ("cluster.atoms=6", "cluster.min_rows=10", "split=group", "+sources.columns.pair=group")
AUTO = ("cluster=auto", "cluster.partitions=[2]", *SMALL)
LOSS = ("cluster=loss", "cluster.partitions=2", "cluster.rounds=2", *SMALL)


def fitted(experiment: Experiment, name: str) -> Path:
    """A file of the fitted assigner."""
    (path,) = experiment.generation.glob(f"cluster/*/{name}")
    return path


@pytest.fixture(scope="module", params=[AUTO, LOSS], ids=["auto", "loss"])
def done(request, warm, tmp_path_factory):
    """An experiment that ran as planned, and the changes of its settings. Leave it as it is."""
    folder = set_up(tmp_path_factory.mktemp("probes") / "experiment").folder
    for path in (folder / "data").iterdir():
        rows = pd.read_csv(path)
        rows.assign(pair=[f"{path.stem}-{n // 2}" for n in rows.index]).to_csv(path, index=False)
    experiment = Experiment(folder, warm.bin)
    overrides = f"[{','.join(request.param)}]"
    planned = experiment.plan(overrides)
    ran = experiment.run(overrides=overrides)
    assert set(ran) == set(planned)
    assert experiment.plan(overrides) == []
    return experiment, request.param


def test_an_assigner_that_trains_probes_is_made_from_the_base(done, monkeypatch):
    """Its record names the base beside the shards it was fitted on, and every hash agrees."""
    experiment, changes = done
    monkeypatch.chdir(experiment.folder)
    plan = Plan("tiny", list(changes), Path("config"))

    files = read_json(fitted(experiment, "ledger.json"), Any)["made_from"]["files"]

    assert str(plan.layout.file("base_fit.base")) in files
    assert plan.basis() == sorted(plan.shards)
    assert audited(*changes)[0] == 0


def test_what_probes_cost_is_the_pools(done):
    """The generalist is trained to the pool's total, that of discovery included."""
    experiment, _ = done
    single = ("cluster/*/ledger.json", "embed/*/ledger.json", "base/*/ledger.json")
    many = ("router/*/*/ledger.json", "specialists/*/*/*/*/ledger.json", "choices/*/*/*/*.json")

    paths = [path for pattern in single + many for path in experiment.generation.glob(pattern)]
    total = sum(read_json(path, Any)["flops"] for path in paths)

    assert read_json(fitted(experiment, "ledger.json"), Any)["detail"]["probes"] > 0
    assert experiment.metrics()["ungated"]["train_flops"] == total


def test_groups_are_counted_where_rows_were(done):
    """Gate, verdict, report and predictions know of how many groups the rows are."""
    experiment, _ = done
    results = experiment.folder / "results" / "tiny"
    tables = map(pd.read_parquet, experiment.generation.glob("split/*/rows/*/*.parquet"))
    rows = pd.concat(tables).astype({"_unit": "uint64"})
    groups = rows.groupby("_fold")["pair"].nunique()
    second_half = rows[(rows["_fold"] == 1) & (rows["_unit"] % 2 == 1)]
    (predictions,) = experiment.generation.glob("evaluate/*/*/predictions.parquet")
    metrics, gate = experiment.metrics(), read_json(results / "pool" / "gate.json", Any)

    assert metrics["units"] == {"kind": "group", "test": groups[2], "least": 6}
    assert metrics["rows"]["test"] == 2 * groups[2]
    assert pd.read_parquet(predictions)["unit"].nunique() == groups[2]
    assert f"over {groups[2]} groups" in metrics["sentence"]
    assert f"over the {2 * groups[2]} test rows of {groups[2]} groups" in " ".join(
        (results / "report.html").read_text().split()
    )
    assert (gate["units"], gate["least_units"]) == (second_half["pair"].nunique(), 5)
    assert f"{gate['units']} groups of validation" in gate_line(metrics["gate"])
