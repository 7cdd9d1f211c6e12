"""Grid points that Optuna's samplers propose, batch by batch, as jobs of the workflow."""

import json
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from shoal.formats.fitted_state import load_state
from shoal.formats.json_file import read_json
from shoal.operate.estimate import Estimate
from shoal.operate.gc import find_garbage
from shoal.plan.plan import Plan
from tests.workflow.small import Experiment, as_config, nudge_training_rows, set_up
from tests.workflow.spoil import audited
from tests.workflow.test_plan_command import planned, rules
from tests.workflow.test_search import searched_files

pytest.importorskip("optuna", reason="needs pip install 'shoal[optuna]'")

GRID = ["grid.lr={low: 0.001, high: 10000, log: true}", "grid.batch_size=[8,16,32]"]
SEARCH = ["search.grid.sampler=tpe", "search.grid.samples=5", "search.grid.batch=2"]
OVERRIDES = [*GRID, *SEARCH]
PARTITIONS = 2
RUN = ("-c", "2", "--scheduler", "greedy")


@pytest.fixture(scope="module")
def searched(warm, tmp_path_factory: pytest.TempPathFactory):
    """An experiment whose points were proposed. Tests must leave it as it is."""
    folder = set_up(tmp_path_factory.mktemp("searched") / "experiment").folder
    experiment = Experiment(folder, warm.bin)
    listed = rules(planned(experiment, *OVERRIDES))
    assert experiment.run(overrides=as_config(*OVERRIDES)) == listed
    return experiment


@pytest.fixture
def proposed(searched, tmp_path):
    """A copy of it, to change."""
    return searched.copy(tmp_path / "experiment")


def results(experiment: Experiment) -> dict[str, bytes]:
    """Weights of all slots, decisions, baselines, predictions, by path."""
    made = experiment.generation
    files = [*made.rglob("*.safetensors"), *made.rglob("predictions.parquet")]
    found = {str(path.relative_to(made)): path.read_bytes() for path in files}
    for path in made.glob("choices/*/*/*/*.json"):
        content = read_json(path, Any)
        told = [content["specialist"], content["losses"], content["next"]]
        found[str(path.relative_to(made))] = json.dumps(told).encode()
    return found


def test_batches_are_planned_before_anything_has_run(searched, monkeypatch):
    """2 + 2 + 1 slots per partition in plan and run, and then nothing; audit and gc agree."""
    made = searched.generation
    assert len(list(made.glob("specialists/*/*/*/*/ledger.json"))) == PARTITIONS * 5
    assert len(list(made.glob("choices/*/*/*/*.json"))) == PARTITIONS * 3
    said = " ".join(searched.shoal("variants", "tiny", *OVERRIDES).stdout.split())
    assert said.startswith(
        "1 variant × 2 partitions × 5 grid points in steps of 2 + 2 + 1 = 10 training jobs"
    )

    assert searched.plan(as_config(*OVERRIDES)) == []

    monkeypatch.chdir(searched.folder)
    assert audited(*OVERRIDES)[0] == 0
    assert find_garbage([Plan("tiny", OVERRIDES, Path("config"))], keep=1).files == ()


def test_each_batch_is_proposed_by_all_before(searched):
    """A partition's slots are as many different points; those that diverge lose the search."""
    for digest in {path.parts[-3] for path in searched.generation.glob("choices/*/*/*/*.json")}:
        steps = [
            [read_json(path, Any) for path in searched.generation.glob(f"choices/*/{digest}/{n}/*")]
            for n in range(3)
        ]
        slots = list(searched.generation.glob(f"specialists/*/{digest}/*/*/model.*"))
        metas = [load_state(slot)[1] for slot in slots]
        diverged = [meta["point"] for meta in metas if "diverged" in meta]
        assert len({json.dumps(meta["point"]) for meta in metas}) == len(metas) == 5
        assert all(0.001 <= meta["point"]["lr"] <= 10000 for meta in metas)
        ((first,), (second,), (last,)) = steps
        assert len(last["points"]) == 5 - len(diverged)
        assert (len(first["next"]), len(second["next"]), last["next"]) == (2, 2, [])
        assert first["points"].items() <= second["points"].items() <= last["points"].items()


def test_all_that_the_search_costs_is_counted(searched, monkeypatch):
    """The generalist may spend what slots and decisions took, which the plan knows from them."""
    made = searched.generation
    paths = [*made.glob("specialists/**/ledger.json"), *made.glob("choices/*/*/*/*.json")]
    ledgers = [read_json(path, Any) for path in paths]
    jobs = Counter(ledger["job"] for ledger in ledgers)
    assert jobs == {"train_specialist": PARTITIONS * 5, "train_choose": PARTITIONS * 3}
    (generalist,) = (read_json(p, Any) for p in made.glob("baselines/*/*/generalist.json"))
    others = [*made.glob("*/*/ledger.json"), *made.glob("router/*/*/ledger.json")]
    total = sum(ledger["flops"] for ledger in ledgers + [read_json(path, Any) for path in others])
    assert generalist["detail"]["pool"] == pytest.approx(total)
    assert generalist["flops"] == pytest.approx(total, rel=0.05)
    monkeypatch.chdir(searched.folder)
    plan = Plan("tiny", OVERRIDES, Path("config"))
    index = plan.layout.read_index()
    trials = [job for job in plan.layout.later_jobs(index) if job.rule == "train_specialist"]

    cost = Estimate(plan, index, trials).cost(trials)

    assert cost.jobs == PARTITIONS * 5
    assert cost.flops > 0
    assert cost.seconds > 0


def test_a_search_that_was_killed_goes_on_where_it_was(proposed, searched, warm):
    """Killed after the first proposals, it repeats nothing, and equal seeds give equal bits."""
    proposed.forget_store()
    for name in ("specialists", "choices", "router", "gate", "pool", "evaluate", "baselines"):
        shutil.rmtree(proposed.generation / name)
    config = ["--config", "experiment=tiny", f"overrides={as_config(*OVERRIDES)}"]
    run = subprocess.Popen(
        ["snakemake", *RUN, *config],
        cwd=proposed.folder,
        env=proposed.environment(),
        stderr=subprocess.DEVNULL,
    )
    while not list(proposed.generation.glob("choices/*/*/0/*.json")):
        assert run.poll() is None
        time.sleep(0.05)
    run.kill()
    warm.kill_all()
    run.wait()
    before = {path: path.stat().st_mtime_ns for path in searched_files(proposed)}
    proposed.snakemake("--unlock", overrides=as_config(*OVERRIDES))
    listed = proposed.plan(as_config(*OVERRIDES))

    assert proposed.run(overrides=as_config(*OVERRIDES)) == listed

    assert 0 < listed.count("train_specialist") <= PARTITIONS * 5 - 2
    assert listed.count("train_choose") < PARTITIONS * 3
    assert all(path.stat().st_mtime_ns == at for path, at in before.items() if path.exists())
    assert results(proposed) == results(searched)


def test_a_larger_number_adds_to_the_search(searched):
    """Seven points instead of five fill the last batch and add one; nothing is trained again."""
    counts = Counter(searched.plan(as_config(*OVERRIDES, "search.grid.samples=7")))

    assert counts["train_specialist"] == PARTITIONS * 2
    assert counts["train_choose"] == PARTITIONS * 2
    assert counts["base_fit"] == counts["cluster_fit"] == 0


def test_a_changed_partition_is_searched_anew_alone(proposed):
    """The other keeps its slots and its decisions."""
    nudge_training_rows(proposed, 3)

    counts = Counter(rules(planned(proposed, *OVERRIDES)))

    assert counts["train_specialist"] == 5
    assert counts["train_choose"] == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("search.halving.rungs=2", "search.halving.rungs: tpe learns from whole trainings, so"),
        ("search.grid.samples=null", "search.grid: tpe proposes a number of points, set samples"),
        ("grid.batch_size=[8,few]", "grid.batch_size: Input should be a valid integer"),
    ],
)
def test_what_proposals_cannot_do_is_one_line(searched, override, message):
    """It is refused before anything runs, exit code 2."""
    result = searched.shoal("plan", "tiny", *OVERRIDES, override)

    assert result.returncode == 2
    assert f"shoal: error: {message}" in result.stderr
    assert "Traceback" not in result.stderr
