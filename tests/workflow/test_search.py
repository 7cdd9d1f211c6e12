"""Successive halving of grid points, step by step, as jobs of the workflow."""

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
from tests.workflow.small import Experiment, as_config, set_up
from tests.workflow.spoil import audited
from tests.workflow.test_incomplete import failing, options_of
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
    """Weights and states of all slots, decisions, predictions, by path."""
    made = experiment.generation
    files = [*made.rglob("*.safetensors"), *made.rglob("predictions.parquet")]
    found = {str(path.relative_to(made)): path.read_bytes() for path in files}
    for path in made.glob("choices/*/*/*/*.json"):
        content = read_json(path, Any)
        told = [content["specialist"], content["losses"], content["next"]]
        found[str(path.relative_to(made))] = json.dumps(told).encode()
    return found


def searched_files(experiment: Experiment) -> list[Path]:
    """Files of all slots and decisions."""
    folders = [experiment.generation / name for name in ("specialists", "choices")]
    return [path for folder in folders for path in folder.rglob("*.*")]


def test_slots_are_planned_before_anything_has_run(searched, monkeypatch):
    """4 + 2 + 1 trainings a partition in plan and run, and then nothing; audit and gc agree."""
    made = searched.generation
    assert len(list(made.glob("specialists/*/*/*/*/ledger.json"))) == PARTITIONS * 7
    assert len(list(made.glob("choices/*/*/*/*.json"))) == PARTITIONS * 3
    said = " ".join(searched.shoal("variants", "tiny", *OVERRIDES).stdout.split())
    assert said.startswith(
        "1 variant × 2 partitions × 4 grid points in steps of 4 + 2 + 1 = 14 training jobs"
    )

    assert searched.plan(as_config(*OVERRIDES)) == []

    monkeypatch.chdir(searched.folder)
    assert audited(*OVERRIDES)[0] == 0
    assert find_garbage([Plan("tiny", OVERRIDES, Path("config"))], keep=1).files == ()


def test_a_point_that_goes_through_all_rungs_has_the_bits_of_one_trained_at_once(halved):
    """Also its FLOPs are those of one training; the point that diverges ends on the first rung."""
    halved.run("--until", "train_specialist", overrides="[grid.lr=[0.003, 0.01, 0.03]]")

    survivors = list(halved.generation.glob("specialists/*/*/2/*/model.safetensors"))
    assert len(survivors) == PARTITIONS
    for path in survivors:
        tensors, meta = load_state(path)
        folders = [
            model.parent
            for model in halved.generation.glob(f"specialists/*/{meta['digest']}/*/*/model.*")
            if load_state(model)[1]["point"] == meta["point"]
        ]
        rungs = [folder for folder in folders if (folder / "state.safetensors").exists()]
        (once,) = set(folders) - set(rungs)
        assert {n: t.tobytes() for n, t in tensors.items()} == {
            n: t.tobytes() for n, t in load_state(once / "model.safetensors")[0].items()
        }
        whole = read_json(once / "ledger.json", Any)
        assert len(rungs) == 3
        for name in ("flops", "rows_seen"):
            assert sum(read_json(r / "ledger.json", Any)[name] for r in rungs) == whole[name]
    for path in halved.generation.glob("choices/*/*/0/*.json"):
        if following := read_json(path, Any)["next"]:
            assert following[-1]["point"] == {"lr": 1e30}
            assert "the loss became" in following[-1]["diverged"]


def test_all_that_the_search_costs_is_counted(searched):
    """The pool's total holds every slot and decision, and is what the generalist may spend."""
    made = searched.generation
    paths = [*made.glob("specialists/**/ledger.json"), *made.glob("choices/*/*/*/*.json")]
    ledgers = [read_json(path, Any) for path in paths]
    jobs = Counter(ledger["job"] for ledger in ledgers)
    assert jobs == {"train_specialist": PARTITIONS * 7, "train_choose": PARTITIONS * 3}
    (generalist,) = (read_json(p, Any) for p in made.glob("baselines/*/*/generalist.json"))
    (router,) = made.glob("router/*/*/ledger.json")
    others = [*made.glob("embed/*/ledger.json"), *made.glob("cluster/*/ledger.json"), router]
    others += made.glob("base/*/ledger.json")

    total = sum(ledger["flops"] for ledger in ledgers + [read_json(path, Any) for path in others])

    assert generalist["detail"]["pool"] == pytest.approx(total)
    assert generalist["flops"] == pytest.approx(total, rel=0.02)


def test_what_slots_cost_follows_from_past_ones(searched, monkeypatch):
    """The plan's FLOPs of all slots are those that their ledgers have counted."""
    monkeypatch.chdir(searched.folder)
    plan = Plan("tiny", OVERRIDES, Path("config"))
    index = plan.layout.read_index()
    jobs = [job for job in plan.layout.later_jobs(index) if job.rule == "train_specialist"]

    cost = Estimate(plan, index, jobs).cost(jobs)

    ledgers = [read_json(job.outputs[1], Any) for job in jobs]
    assert cost.jobs == len(ledgers) == PARTITIONS * 7
    assert cost.flops == pytest.approx(sum(ledger["flops"] for ledger in ledgers))
    assert cost.seconds > 0


def test_a_search_that_was_killed_goes_on_where_it_was(halved, searched, warm):
    """Only what is missing runs, what is there stays, and all comes out as if nothing had been."""
    for name in ("specialists", "choices"):
        shutil.rmtree(halved.generation / name)
    config = ["--config", "experiment=tiny", f"overrides={as_config(*OVERRIDES)}"]
    run = subprocess.Popen(
        ["snakemake", *RUN, *config],
        cwd=halved.folder,
        env=halved.environment(),
        stderr=subprocess.DEVNULL,
    )
    while not list(halved.generation.glob("choices/*/*/0/*.json")):
        assert run.poll() is None
        time.sleep(0.05)
    run.kill()
    warm.kill_all()
    run.wait()
    before = {path: path.stat().st_mtime_ns for path in searched_files(halved)}
    halved.snakemake("--unlock", overrides=as_config(*OVERRIDES))
    listed = halved.plan(as_config(*OVERRIDES))

    assert halved.run(overrides=as_config(*OVERRIDES)) == listed

    assert {"train_specialist", "train_choose"} >= set(listed)
    assert 0 < listed.count("train_specialist") < PARTITIONS * 7
    assert all(path.stat().st_mtime_ns == at for path, at in before.items() if path.exists())
    assert results(halved) == results(searched)


def test_one_more_point_trains_in_the_first_step_alone_again(searched):
    """What the others did there is not done again; later steps follow other decisions."""
    more = "grid.lr=[0.003, 0.01, 0.03, 1e30, 0.02]"

    counts = Counter(searched.plan(as_config(more, *HALVING)))

    assert counts["train_specialist"] == PARTITIONS * (1 + 2 + 1)
    assert counts["train_choose"] == PARTITIONS * 3
    assert counts["base_fit"] == counts["cluster_fit"] == 0


def test_a_packed_search_has_the_bits_of_one_with_a_job_per_slot(halved, searched):
    """A pack holds slots of one step; plan, dry run and run list the same packs."""
    for name in ("specialists", "choices"):
        shutil.rmtree(halved.generation / name)
    halved.forget_store()
    packed = [*OVERRIDES, "packing.devices=1"]

    document = planned(halved, *packed)

    packs = [pack["members"] for pack in document["packs"]["packs"]]
    steps = [{member["about"].split("/")[1] for member in members} for members in packs]
    assert steps == [{"0"}, {"1"}, {"2"}]
    assert [len(members) for members in packs] == [PARTITIONS * count for count in (4, 2, 1)]
    listed = halved.plan(as_config(*packed))
    assert listed == rules(document)
    assert Counter(listed) == {"train_pack": 3, "choose_pack": 3}
    assert halved.run(overrides=as_config(*packed)) == listed
    assert results(halved) == results(searched)
    assert halved.plan(as_config(*OVERRIDES)) == []


def test_a_slot_that_fails_is_left_out_of_what_follows(halved, tmp_path):
    """The search of its partition goes on with the others, also where it is one of a later step."""
    (later,) = sorted(halved.generation.glob("specialists/*/*/1/*-1"))[:1]
    first = sorted(halved.generation.glob(f"specialists/*/{later.parts[-3]}/0/*"))[0]
    halved.programs = failing(halved.programs, tmp_path / "programs")
    for path in (later, first):
        shutil.rmtree(path)
        shutil.rmtree(halved.generation / "choices", ignore_errors=True)
        result = halved.snakemake(
            *RUN,
            overrides=as_config(*OVERRIDES, "changes.incomplete=true"),
            SHOAL_FAIL=options_of(path),
        )
        assert result.returncode == 2, result.stderr
        document = planned(halved, *OVERRIDES, "changes.incomplete=true")
        (lack,) = document["incomplete"]
        assert path.name in lack["points"]
        listed = halved.run(overrides=as_config(*OVERRIDES, "changes.incomplete=true"))
        assert listed == rules(document)
        assert {"train_choose", "pool"} <= set(listed)
    assert len(list(halved.generation.glob(f"choices/*/{later.parts[-3]}/2/*.json"))) == 2


def test_queries_know_every_slot(searched):
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
        assert each["model"].split("/")[4] == "2"
        assert each["loss"] > 0
        assert each["chosen"]
