"""Successive halving of grid points, rung by rung, as jobs of the workflow."""

import json
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from shoal.formats.fitted_state import load_state
from shoal.formats.hashing import settings_id
from shoal.formats.json_file import read_json
from shoal.operate.estimate import Estimate
from shoal.operate.gc import find_garbage
from shoal.plan.plan import Plan
from tests.workflow.small import Experiment, as_config, set_up
from tests.workflow.spoil import audited
from tests.workflow.test_plan_command import planned, rules

GRID = "grid.lr=[0.003, 0.01, 0.03, 1e30]"
HALVING = ["search.halving.rungs=3", "search.halving.reduction_factor=2"]
OVERRIDES = [GRID, *HALVING]
PARTITIONS = 2
RUN = ("-c", "2", "--scheduler", "greedy")


@pytest.fixture(scope="module")
def searched(warm, tmp_path_factory: pytest.TempPathFactory):
    """An experiment whose grid points were halved. Tests must leave it as it is."""
    folder = set_up(tmp_path_factory.mktemp("searched") / "experiment").folder
    experiment = Experiment(folder, warm.bin)
    listed = rules(planned(experiment, *OVERRIDES))
    assert experiment.run(overrides=as_config(*OVERRIDES)) == listed
    return experiment


@pytest.fixture
def halved(searched, tmp_path):
    """A copy of it, to change."""
    return searched.copy(tmp_path / "experiment")


def results(experiment: Experiment) -> dict[str, bytes]:
    """Weights and states of all slots, orders of all rankings, choices, predictions, by path."""
    made = experiment.generation
    files = [*made.rglob("*.safetensors"), *made.rglob("predictions.parquet")]
    found = {str(path.relative_to(made)): path.read_bytes() for path in files}
    for path in made.glob("rungs/*/*/*/*.json"):
        found[str(path.relative_to(made))] = json.dumps(read_json(path, Any)["order"]).encode()
    for path in made.glob("choices/*/*/*.json"):
        found[str(path.relative_to(made))] = read_json(path, Any)["specialist"].encode()
    return found


def test_slots_are_planned_before_anything_has_run(searched, monkeypatch):
    """4 + 2 + 1 trainings a partition in plan and run, and then nothing; audit and gc agree."""
    made = searched.generation
    counts = Counter(len(path.relative_to(made).parts) for path in made.glob("rungs/**/*.json"))
    assert counts == {6: PARTITIONS * 7, 5: PARTITIONS * 2}
    assert not list(made.glob("specialists/*"))
    said = " ".join(searched.shoal("variants", "tiny", *OVERRIDES).stdout.split())
    assert said.startswith(
        "1 variant × 2 partitions × 4 grid points in rungs of 4 + 2 + 1 = 14 training jobs"
    )

    assert searched.plan(as_config(*OVERRIDES)) == []

    monkeypatch.chdir(searched.folder)
    assert audited(*OVERRIDES)[0] == 0
    assert find_garbage([Plan("tiny", OVERRIDES, Path("config"))], keep=1).files == ()


def test_a_point_that_goes_through_all_rungs_has_the_bits_of_one_trained_at_once(halved):
    """Also its FLOPs are those of one training; the point that diverges ends on the first rung."""
    halved.run("--until", "train_specialist", overrides="[grid.lr=[0.003, 0.01, 0.03]]")

    survivors = list(halved.generation.glob("rungs/*/*/2/*/model.safetensors"))
    assert len(survivors) == PARTITIONS
    for path in survivors:
        tensors, meta = load_state(path)
        digest, point = meta["digest"], settings_id(meta["point"])
        (once,) = halved.generation.glob(f"specialists/*/{digest}/{point}/model.safetensors")
        assert {n: t.tobytes() for n, t in tensors.items()} == {
            n: t.tobytes() for n, t in load_state(once)[0].items()
        }
        rungs = [
            ledger
            for model in halved.generation.glob(f"rungs/*/{digest}/*/*/model.safetensors")
            if load_state(model)[1]["point"] == meta["point"]
            for ledger in [read_json(model.with_name("ledger.json"), Any)]
        ]
        whole = read_json(once.with_name("ledger.json"), Any)
        assert len(rungs) == 3
        for name in ("flops", "rows_seen"):
            assert sum(ledger[name] for ledger in rungs) == whole[name]
    for path in halved.generation.glob("rungs/*/*/0/*.json"):
        last = read_json(path, Any)["order"][-1]
        assert last["point"] == {"lr": 1e30}
        assert "the loss became" in last["diverged"]


def test_all_that_the_search_costs_is_counted(searched):
    """The pool's total holds every rung and ranking, and is what the generalist may spend."""
    made = searched.generation
    ledgers = [read_json(path, Any) for path in made.glob("rungs/**/*.json")]
    jobs = Counter(ledger["job"] for ledger in ledgers if "job" in ledger)
    assert jobs == {"train_rung": PARTITIONS * 7, "train_rank": PARTITIONS * 2}
    (generalist,) = (read_json(p, Any) for p in made.glob("baselines/*/*/generalist.json"))
    (router,) = made.glob("router/*/*/ledger.json")
    others = [*made.glob("embed/*/ledger.json"), *made.glob("cluster/*/ledger.json"), router]
    others += [*made.glob("base/*/ledger.json"), *made.glob("choices/*/*/*.json")]

    total = sum(ledger["flops"] for ledger in ledgers + [read_json(path, Any) for path in others])

    assert generalist["detail"]["pool"] == pytest.approx(total)
    assert generalist["flops"] == pytest.approx(total, rel=0.02)


def test_what_rungs_cost_follows_from_past_ones(searched, monkeypatch):
    """The plan's FLOPs of all slots are those that their ledgers have counted."""
    monkeypatch.chdir(searched.folder)
    plan = Plan("tiny", OVERRIDES, Path("config"))
    index = plan.layout.read_index()
    jobs = [job for job in plan.layout.later_jobs(index) if job.rule == "train_rung"]

    cost = Estimate(plan, index, jobs).cost(jobs)

    ledgers = [read_json(job.outputs[-1], Any) for job in jobs]
    assert cost.jobs == len(ledgers) == PARTITIONS * 7
    assert cost.flops == pytest.approx(sum(ledger["flops"] for ledger in ledgers))
    assert cost.seconds > 0


def test_a_search_that_was_killed_goes_on_where_it_was(halved, searched, warm):
    """Only what is missing runs, what is there stays, and all comes out as if nothing had been."""
    shutil.rmtree(halved.generation / "rungs")
    config = ["--config", "experiment=tiny", f"overrides={as_config(*OVERRIDES)}"]
    run = subprocess.Popen(
        ["snakemake", *RUN, *config],
        cwd=halved.folder,
        env=halved.environment(),
        stderr=subprocess.DEVNULL,
    )
    while not list(halved.generation.glob("rungs/*/*/0/*.json")):
        assert run.poll() is None
        time.sleep(0.05)
    run.kill()
    warm.kill_all()
    run.wait()
    before = {path: path.stat().st_mtime_ns for path in halved.generation.glob("rungs/**/*.*")}
    halved.snakemake("--unlock", overrides=as_config(*OVERRIDES))
    listed = halved.plan(as_config(*OVERRIDES))

    assert halved.run(overrides=as_config(*OVERRIDES)) == listed

    assert {"train_rung", "train_rank"} >= set(listed)
    assert 0 < listed.count("train_rung") < PARTITIONS * 7
    assert all(path.stat().st_mtime_ns == at for path, at in before.items() if path.exists())
    assert results(halved) == results(searched)


def test_one_more_point_trains_on_the_first_rung_alone_again(searched):
    """What the others did there is not done again; later rungs have other rankings."""
    more = "grid.lr=[0.003, 0.01, 0.03, 1e30, 0.02]"

    counts = Counter(searched.plan(as_config(more, *HALVING)))

    assert counts["train_rung"] == PARTITIONS * (1 + 2 + 1)
    assert counts["train_rank"] == PARTITIONS * 2
    assert counts["base_fit"] == counts["cluster_fit"] == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("packing.devices=2", "packing.devices: rungs are not packed; set search.halving.rungs=1"),
        ("changes.incomplete=true", "changes.incomplete: leaves nothing out of rungs, it must be"),
    ],
)
def test_what_rungs_cannot_do_is_one_line(searched, override, message):
    """Packing and incomplete pools are refused before anything runs, exit code 2."""
    result = searched.shoal("plan", "tiny", *OVERRIDES, override)

    assert result.returncode == 2
    assert f"shoal: error: {message}" in result.stderr
    assert "Traceback" not in result.stderr


def test_queries_know_every_rung(searched):
    """A specialist is listed for each slot, with what it cost; choices name those compared last."""

    def answers(question: str) -> list[dict[str, Any]]:
        return json.loads(searched.shoal("query", "tiny", question, "--json").stdout)

    slots = answers(
        "SELECT point FROM models JOIN training_runs ON run = model WHERE kind = 'specialist'"
    )
    assert len(slots) == PARTITIONS * 7
    assert {json.loads(each["point"])["lr"] for each in slots} == {0.003, 0.01, 0.03, 1e30}
    compared = answers("SELECT model, loss, chosen FROM choices WHERE candidate <> 'base'")
    assert len(compared) == PARTITIONS
    for each in compared:
        assert each["model"].split("/")[1] == "rungs"
        assert each["loss"] > 0
        assert each["chosen"]
