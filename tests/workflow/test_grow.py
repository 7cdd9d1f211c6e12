"""Rows of a new kind: what is said of them, and partitions that are added for them."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shoal.formats.fitted_state import load_state
from shoal.formats.json_file import read_json
from shoal.operate.audit.audit import audit
from shoal.operate.gc import find_garbage
from shoal.plan.plan import Plan
from shoal.pool.pool import Pool
from tests.workflow.small import Experiment, as_config, write_rows

AUTO = as_config("changes.grow=auto")


def new_kind(path: Path, seed: int = 9, shift: float = 9.0) -> pd.DataFrame:
    """Rows far from all others in ``a`` and ``b``, and some like the others."""
    write_rows(path, seed, 200)
    table = pd.read_csv(path)
    table["id"] = [f"{path.stem}-{n}" for n in range(len(table))]
    far = np.arange(len(table)) < 150
    table.loc[far, "a"] += shift
    table.loc[far, "b"] += shift
    table.to_csv(path, index=False)
    return table[far]


def plan(*overrides: str) -> Plan:
    """The plan of the experiment in which the test stands."""
    return Plan("tiny", list(overrides), Path("config"))


def index(*overrides: str) -> dict[str, Any]:
    """Its partition index."""
    found = plan(*overrides).layout.read_index()
    assert found is not None
    return dict(found)


def files(folder: str = "results/tiny/g1") -> dict[Path, int]:
    """When each file of the generation was written."""
    return {p: p.stat().st_mtime_ns for p in Path(folder).rglob("*") if p.is_file()}


def predicted(rows: pd.DataFrame) -> Counter[int]:
    """How many of some rows the pool sends to each partition."""
    pool = Pool.load("results/tiny/pool")
    routed = pool.router.assigner.assign(_embedded(pool, rows))
    return Counter(routed.tolist())


def _embedded(pool: Pool, rows: pd.DataFrame) -> np.ndarray:
    from shoal.sources.columns import typed_inputs
    from shoal.sources.frames import raw_table

    typed = typed_inputs(raw_table(rows, pool.columns, "input"), pool.columns, "input", 1)
    return pool.embedder.embed(pool.encoder.encode(pool.pipeline.predict(typed, "input"), "i", 0))


@pytest.fixture(scope="module")
def reported_once(finished, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """The finished experiment, run again after a file with rows of a new kind came."""
    experiment = finished.copy(tmp_path_factory.mktemp("reported") / "experiment")
    new_kind(experiment.folder / "data" / "new.csv")
    result = experiment.snakemake("-c", "2", "--scheduler", "greedy")
    assert result.returncode == 0, result.stderr
    (experiment.folder / "ended.txt").write_text(result.stderr)
    return experiment


@pytest.fixture(scope="module")
def grown_once(reported_once, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """The same after ``shoal grow`` and a run."""
    experiment = reported_once.copy(tmp_path_factory.mktemp("grown") / "experiment")
    result = experiment.shoal("grow", "tiny")
    assert result.returncode == 0, result.stderr
    (experiment.folder / "said.txt").write_text(result.stdout)
    (experiment.folder / "planned.txt").write_text(experiment.shoal("plan", "tiny").stdout)
    ran = experiment.run()
    (experiment.folder / "ran.txt").write_text("\n".join(ran))
    return experiment


@pytest.fixture
def grown(grown_once, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """A copy of it, in which the test stands."""
    copy = grown_once.copy(tmp_path / "experiment")
    monkeypatch.chdir(copy.folder)
    return copy


def test_a_plain_run_says_that_growing_answers_drift(reported_once, monkeypatch):
    """Its end, the drift report and the plan name the command; nothing has grown."""
    monkeypatch.chdir(reported_once.folder)

    ended = Path("ended.txt").read_text()
    assert "rows of a new kind have come: `shoal grow tiny` adds partitions for them" in ended
    assert read_json(Path("results/tiny/drift.json"), dict)["recommendation"]["action"] == "grow"
    assert "Grow (`shoal grow`)" in reported_once.shoal("plan", "tiny").stdout
    assert len(index()["partitions"]) == 2


def test_growing_adds_partitions_and_fits_nothing_else(grown, reported_once, monkeypatch):
    """What it says, what the plan says, and the jobs that ran."""
    said, planned = Path("said.txt").read_text(), Path("planned.txt").read_text()
    ran = Counter(Path("ran.txt").read_text().split())
    entries = index()["partitions"]
    monkeypatch.chdir(reported_once.folder)

    assert "new partition" in said
    assert "training rows of a new kind" in planned
    assert "its rows are of a new kind" in planned
    assert len(entries) > len(index()["partitions"]) == 2
    assert ran["cluster_fit"] == ran["base_fit"] == ran["evaluate_generalist"] == 0
    assert ran["cluster_grow"] == 0


def test_only_new_partitions_train_where_others_wait(reported_once, tmp_path, monkeypatch):
    """Old partitions keep digest and specialist across a growth, by what was published before."""
    experiment = reported_once.copy(tmp_path / "experiment")
    monkeypatch.chdir(experiment.folder)
    before = index()["partitions"]
    waits = "changes.tolerance=0.95"

    assert experiment.shoal("grow", "tiny", waits).returncode == 0
    ran = Counter(experiment.run(overrides=as_config(waits)))
    entries = index(waits)["partitions"]

    new = [entry for entry in entries[2:] if entry["trained"]]
    assert [e["specialist"] for e in entries[:2]] == [e["specialist"] for e in before]
    assert ran["train_specialist"] == 2 * len(new) > 0
    assert audit(plan(waits)).agrees


def test_the_pool_sends_rows_of_the_new_kind_to_new_partitions(grown):
    """Most of the new kind, and none of the rows that the generation was fitted on."""
    new = predicted(new_kind(Path("other.csv"), seed=33))
    old = predicted(pd.concat(pd.read_csv(f"data/part-{n}.csv") for n in range(3)))

    assert sum(count for partition, count in new.items() if partition >= 2) > 0.8 * 150
    assert sum(count for partition, count in old.items() if partition >= 2) <= 5


def test_after_growing_everything_agrees_and_is_reached(grown):
    """Nothing is left to do, no artifact disagrees, and the growth is kept."""
    assert grown.plan() == []
    assert audit(plan()).agrees, audit(plan()).findings
    kept = set(find_garbage([plan()], 1).files)
    assert not kept & set(Path("results/tiny/g1/cluster").rglob("grown*"))
    assert not [path for path in kept if "grown" in path.parts]
    assert len(plan().layout.grown) == 1


def test_a_growth_whose_file_is_gone_is_an_error_in_one_line(grown):
    """It names the file; nothing grows by other rows under its name."""
    path = plan().layout.assigner
    path.unlink()

    result = grown.shoal("plan", "tiny")

    assert result.returncode == 2
    assert str(path) in result.stderr


def test_growing_again_adds_to_what_has_grown(grown):
    """A second new kind gets partitions after those of the first, and a second file."""
    entries = index()["partitions"]
    new_kind(Path("data/newer.csv"), seed=21, shift=-9.0)

    result = grown.shoal("grow", "tiny")
    grown.run()

    assert "new partition" in result.stdout
    assert len(plan().layout.grown) == 2
    later = index()["partitions"]
    assert len(later) > len(entries)
    assert later[2]["specialist"] == entries[2]["specialist"]
    assert audit(plan()).agrees


def test_variants_that_share_an_assigner_grow_once(reported_once, tmp_path, monkeypatch):
    """One growth is in use after the command, however many variants it was asked for."""
    experiment = reported_once.copy(tmp_path / "experiment")
    monkeypatch.chdir(experiment.folder)
    widths = "model.width=[4,5]"
    experiment.run(overrides=as_config(widths))

    result = experiment.shoal("grow", "tiny", widths)

    assert result.stdout.count("new partition") == 2
    (record,) = Path("results/tiny/g1/cluster").glob("*/grown.json")
    assert len(read_json(record, dict)["grown"]) == 1


def test_variants_that_grow_by_themselves_are_compared_as_they_have_grown(
    finished, tmp_path, monkeypatch
):
    """One is chosen among the pools that the run makes, and nothing is left to do."""
    experiment = finished.copy(tmp_path / "experiment")
    monkeypatch.chdir(experiment.folder)
    widths = ("model.width=[4,5]", "changes.grow=auto")
    experiment.run(overrides=as_config(*widths))
    new_kind(Path("data/new.csv"))

    ran = Counter(experiment.run(overrides=as_config(*widths)))

    names = ("cluster_grow", "choose_variant", "evaluate", "pool_publish")
    assert [ran[name] for name in names] == [1, 1, 2, 2]
    assert experiment.plan(overrides=as_config(*widths)) == []
    (*_, chosen) = sorted(Path("results/tiny/g1/chosen").iterdir(), key=os.path.getmtime)
    records = Path("results/tiny/variants").glob("*/plan.json")
    for record in [read_json(path, dict) for path in records]:
        assert len(record["layout"]["grown"]) == 1
        assert record["layout"]["made"]["chosen"] == chosen.stem


def test_growing_without_new_rows_changes_nothing(grown):
    """It says so."""
    before = files()

    result = grown.shoal("grow", "tiny")

    assert (result.returncode, "no source file has come" in result.stdout) == (0, True)
    assert files() == before


def test_by_itself_a_run_grows_as_the_plan_says(finished, tmp_path, monkeypatch):
    """The dry run ends where nobody knows yet; the plan looks, and the run does what it lists."""
    experiment = finished.copy(tmp_path / "experiment")
    monkeypatch.chdir(experiment.folder)
    new_kind(Path("data/new.csv"))

    first = experiment.snakemake("-n", overrides=AUTO)
    assert "whether rows of a new kind have come is not known" in first.stderr
    other = experiment.copy(tmp_path / "other")
    planned = experiment.shoal("plan", "tiny", "changes.grow=auto").stdout
    assert "training rows of a new kind" in planned
    dry = experiment.plan(overrides=AUTO)
    assert dry == experiment.run(overrides=AUTO)
    assert len(index("changes.grow=auto")["partitions"]) > 2

    ran = Counter(other.run(overrides=AUTO))
    assert ran["cluster_grow"] == 1
    assert ran["train_specialist"] == Counter(dry)["train_specialist"]
    monkeypatch.chdir(other.folder)
    assert (
        read_json(Path("results/tiny/pool/manifest.json"), dict)["rows"]
        == (read_json(experiment.folder / "results/tiny/pool/manifest.json", dict)["rows"])
    )
    assert len(plan().layout.grown) == 1
    assert experiment.plan() == []


def test_by_itself_a_run_with_rows_of_known_kinds_does_not_grow(finished, tmp_path, monkeypatch):
    """The assigner is looked at, and stays; after that nothing is left to do."""
    experiment = finished.copy(tmp_path / "experiment")
    monkeypatch.chdir(experiment.folder)
    write_rows(Path("data/more.csv"), 5)

    ran = Counter(experiment.run(overrides=AUTO))

    assert ran["cluster_grow"] == 1
    assert ran["assign"] == 1
    assert plan("changes.grow=auto").layout.grown == ()
    assert not find_garbage([plan("changes.grow=auto")], 2).files
    assert experiment.plan(overrides=AUTO) == []


def test_the_order_in_which_files_come_does_not_matter(finished, tmp_path, monkeypatch):
    """One after the other, or both at once under other names: the same assigner and partitions."""
    found = []
    for order in (("x", "y"), ("z", "a")):
        experiment = finished.copy(tmp_path / order[0])
        monkeypatch.chdir(experiment.folder)
        for name, seed in zip(order, (9, 10), strict=True):
            table = new_kind(Path(f"data/{name}.csv"), seed)
            table["id"] = [f"{seed}-{n}" for n in range(len(table))]
            table.to_csv(f"data/{name}.csv", index=False)
            if order == ("x", "y"):
                assert experiment.shoal("plan", "tiny").returncode == 0
        assert experiment.shoal("grow", "tiny").returncode == 0
        assert experiment.shoal("plan", "tiny").returncode == 0
        tensors = load_state(plan().layout.assigner)[0]
        grown = {name: tensor.tolist() for name, tensor in tensors.items()}
        found.append((grown, index()["partitions"]))

    assert found[0] == found[1]
