"""Specialists that train together, on a small real workflow."""

import json
import os
import shutil
import subprocess
import time
from collections import Counter
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest

from shoal.formats.fitted_state import load_state
from shoal.formats.json_file import read_json
from shoal.formats.provenance import recording
from shoal.operate.gc import find_garbage
from shoal.partitions.reader import Index
from shoal.plan.plan import Plan
from shoal.settings.learning import Model
from shoal.settings.section import parse
from shoal.train_specialists.budget import Trials
from shoal.train_specialists.candidate import Candidate
from shoal.train_specialists.command import Common, train_slot
from shoal.train_specialists.pack_command import Work, train_members
from shoal.training import lanes
from shoal.training.determinism import as_if_alone
from tests.documents import plain_steps
from tests.trainings import TRAINING
from tests.workflow.small import Experiment, set_up
from tests.workflow.spoil import audited
from tests.workflow.test_plan_command import change, planned, rules

ON = "packing.devices=2"
ONE = "packing.devices=1"


def specialists(experiment: Experiment) -> dict[str, bytes]:
    """Weights of every specialist by ``DIGEST/STEP/SLOT``."""
    paths = experiment.generation.glob("specialists/*/*/*/*/model.safetensors")
    return {"/".join(path.parts[-4:-1]): path.read_bytes() for path in paths}


def bits(experiment: Experiment) -> dict[str, bytes]:
    """Weights, router, index and predictions by path."""
    patterns = ("*.safetensors", "index.json", "predictions.parquet")
    paths = [path for pattern in patterns for path in experiment.generation.rglob(pattern)]
    return {str(path.relative_to(experiment.folder)): path.read_bytes() for path in paths}


def remove_specialists(experiment: Experiment) -> None:
    for folder in experiment.generation.glob("specialists/*"):
        shutil.rmtree(folder)


def answers(experiment: Experiment) -> list[Path]:
    """Files of decisions and answers."""
    found = (experiment.generation.glob(f"{folder}/**/*") for folder in ("ask", "choices"))
    return [path for paths in found for path in paths if path.is_file()]


def without_costs(path: Path) -> Any:
    """A document but for seconds, memory and the libraries that its process had."""
    return {
        name: value
        for name, value in read_json(path, Any).items()
        if name not in ("seconds", "peak_memory_bytes", "versions")
    }


def packed(document: dict[str, Any]) -> list[set[str]]:
    """Members of each pack, ``DIGEST/STEP/SLOT``."""
    packs = document["packs"]["packs"]
    return [{member["about"] for member in pack["members"]} for pack in packs]


@pytest.fixture(scope="module")
def whole(warm, tmp_path_factory: pytest.TempPathFactory):
    """An experiment that ran with packing on from the start. Tests must leave it as it is."""
    folder = set_up(tmp_path_factory.mktemp("packed") / "experiment").folder
    experiment = Experiment(folder, warm.bin)
    document = planned(experiment, ON)
    assert not document["exact"]
    shown = experiment.plan(f"[{ON}]")
    assert rules(document) == shown
    assert list(folder.rglob("packs")) == []
    assert experiment.run(overrides=f"[{ON}]") == shown
    assert (shown.count("train_pack"), shown.count("train_specialist")) == (2, 0)
    return experiment


def test_a_packed_run_has_the_bits_of_one_with_a_job_each(whole, finished):
    """Plan, dry run and run list the same jobs (the fixture compares them), and all files agree."""
    assert bits(whole) == bits(finished)
    for path in finished.generation.glob("specialists/*/*/*/*/ledger.json"):
        alone = read_json(path, Any)
        together = read_json(whole.folder / path.relative_to(finished.folder), Any)
        for name in ("job", "flops", "rows_seen", "rows_read", "made_from"):
            assert together[name] == alone[name]
    assert whole.run(overrides=f"[{ON}]") == []


def test_small_specialists_step_together_with_the_bits_of_a_job_each(
    finished, tmp_path, monkeypatch
):
    """Weights and accounts of a pack's members in lanes are those of a training by itself."""
    monkeypatch.setattr(lanes, "FEWEST", 2)
    (base,) = finished.generation.glob("base/*/base.safetensors")
    (shapes,) = finished.generation.glob("encode/*/shapes.json")
    (index,) = finished.generation.glob("cluster/*/indexes/*/index.json")
    model = parse(Model, load_state(base)[1]["model"], "model")
    training = TRAINING.model_copy(update={"batch_size": 32})
    common = Common(model, training, index, base, shapes, (), Trials(2, 2), 60)
    never = lambda *_: False  # noqa: E731 - a store that has nothing
    work = Work(common, plain_steps(), never, 1)
    points = [{"lr": lr} for lr in (0.001, 0.01)]
    trained = [entry for entry in Index(index).trained if entry["rows"]["train"] >= 32]
    members: list[Any] = [
        {"folder": str(tmp_path / "made" / "id" / digest / "0" / f"{n}"), "digest": digest}
        | {"step": 0, "slot": f"{n}", "point": point, "decision": None, "states": {}}
        | {"log": str(tmp_path / "logs" / digest / f"{n}.log")}
        for digest in (entry["specialist"] for entry in trained)
        for n, point in enumerate(points)
    ]
    stepped = []
    original = lanes._Program.step
    monkeypatch.setattr(
        lanes._Program, "step", lambda self: (stepped.append(len(self.live)), original(self))
    )

    with open(2, "w", closefd=False) as own, redirect_stderr(own):
        assert train_members(work, members, tmp_path / "status.json") == []

    assert stepped[0] == len(members) > 2
    for member in members:
        out, ledger = tmp_path / "alone.safetensors", tmp_path / "alone.json"
        with as_if_alone(1), recording([base, shapes]):
            train_slot(common, Candidate(member["point"]), member["digest"], out, ledger)
        assert Path(member["folder"], "model.safetensors").read_bytes() == out.read_bytes()
        alone, together = (
            read_json(path, Any) for path in (ledger, Path(member["folder"], "ledger.json"))
        )
        for name in ("job", "flops", "rows_seen", "rows_read", "made_from"):
            assert together[name] == alone[name]
        first, second = (
            [(step, loss) for step, _, loss in each["learning_curves"][0]]
            for each in (alone, together)
        )
        assert first == second


def test_decisions_and_answers_share_a_process_with_the_bits_of_a_job_each(copied, monkeypatch):
    """Plan, dry run and run list the packs; each file says what it was made from; gc keeps all."""
    made = {path: path.read_bytes() for path in answers(copied)}
    told = {path: without_costs(path) for path in made if path.suffix == ".json"}
    for folder in ("ask", "choices"):
        shutil.rmtree(copied.generation / folder)

    document = planned(copied, ONE)

    assert rules(document) == copied.plan(f"[{ONE}]") == ["ask_pack", "choose_pack"]
    assert copied.run(overrides=f"[{ONE}]") == rules(document)
    assert set(answers(copied)) == set(made)
    for path, content in made.items():
        if path in told:
            assert without_costs(path) == told[path]
        else:
            assert path.read_bytes() == content
    monkeypatch.chdir(copied.folder)
    assert find_garbage([Plan("tiny", [ONE], Path("config"))], keep=1).files == ()


def test_answers_that_are_there_are_not_asked_for_again(copied):
    """A pack of answers that was cut off goes on where it was; what it lacks alone is a job."""
    first, second = sorted(copied.generation.glob("ask/*/*/*"))
    shutil.rmtree(first)

    assert rules(planned(copied, ONE)) == ["ask"]
    shutil.rmtree(second)
    assert copied.run(overrides=f"[{ONE}]") == ["ask_pack"]
    (status,) = copied.generation.glob("ask_packs/*/*.json")
    for folder in (first, second):
        (folder / "test.safetensors").unlink()
    total = planned(copied, ONE)["total"]["run"]
    assert total["jobs"] == 1
    assert total["seconds"] > 0
    assert copied.run(overrides=f"[{ONE}]") == ["ask_pack"]
    assert len(list(status.parent.glob("*.json"))) == 2


def test_packing_is_part_of_no_path(whole, finished):
    """What was trained together is found by a run with a job each, and the other way round."""
    assert whole.run() == []
    assert finished.plan(f"[{ON}]") == []


def test_gc_and_audit_know_the_status_files(whole, monkeypatch, tmp_path):
    """They are kept with the specialists that they tell of, and checked against them."""
    monkeypatch.chdir(whole.copy(tmp_path / "experiment").folder)
    plan = Plan("tiny", [], Path("config"))
    assert find_garbage([plan], keep=1).files == ()
    assert audited()[0] == 0
    (status, _) = sorted(Path("results/tiny/g1/packs").glob("*/*.json"))
    content = read_json(status, Any)
    member = next(iter(content))
    content[member]["model.safetensors"] = "0" * 64
    status.write_text(json.dumps(content))

    code, lines = audited()

    assert code == 1
    assert lines[0].startswith(f"{status}: lists another {member}/model.safetensors than")


def test_gc_takes_a_status_whose_specialists_are_not_kept(whole, monkeypatch, tmp_path):
    """A pack of specialists that nothing reaches any more is garbage with them."""
    monkeypatch.chdir(whole.copy(tmp_path / "experiment").folder)
    status, _ = Path("results/tiny/g1").glob("packs/*/*.json")
    old = status.with_name("0123456789.json")
    old.write_text(json.dumps({"results/tiny/g1/specialists/gone/digest/0/point": {}}))
    members = old.parent / "members" / old.name
    members.write_text("[]")

    assert set(find_garbage([Plan("tiny", [], Path("config"))], keep=1).files) == {old, members}


def test_only_the_changed_partitions_members_are_packed(copied):
    """After a data change plan, dry run and run list one partition's pack, and say its members."""
    change(copied, "0.123")

    document = planned(copied, ONE)

    (part,) = (part for part in document["partitions"] if part["status"] == "changed")
    (pack,) = document["packs"]["packs"]
    assert [member["partition"] for member in pack["members"]] == [part["partition"]] * 2
    assert sorted(member["point"]["lr"] for member in pack["members"]) == [0.01, 0.03]
    seconds = document["packs"]["seconds"]
    assert 0 < pack["seconds"] < seconds["packed"] < seconds["alone"]
    assert rules(document) == copied.plan(f"[{ONE}]")
    text = copied.shoal("plan", "tiny", ONE).stdout
    assert f"{part['partition']}: lr=0.01, lr=0.03" in text.replace(
        "lr=0.03, lr=0.01", "lr=0.01, lr=0.03"
    )
    before = specialists(copied)
    assert copied.run(overrides=f"[{ONE}]") == rules(document)
    assert set(specialists(copied)) - set(before) == packed(document)[0]
    assert rules(planned(copied, ONE)) == []


def test_a_failed_member_spoils_no_other_and_is_packed_alone_next(copied):
    """The others stay with the bits of training alone, and the next plan asks for the one."""
    grid = "grid.lr=[0.01,0.02,0.03,1e30]"
    digests = {member.split("/")[0] for member in specialists(copied)}
    before = set(specialists(copied))

    result = copied.snakemake("-c", "2", "--scheduler", "greedy", overrides=f"[{ONE}, {grid}]")

    assert result.returncode == 2
    assert "shoal: error: MLP: the loss became" in result.stderr
    made = {name: data for name, data in specialists(copied).items() if name not in before}
    assert {name.split("/")[0] for name in made} == digests
    assert len(made) == 2
    document = planned(copied, ONE, grid)
    (members,) = packed(document)
    assert {name.split("/")[0] for name in members} == digests
    assert not members & set(made)
    assert list(copied.generation.glob("packs/*/*.json")) == []
    for name in made:
        (folder,) = copied.generation.glob(f"specialists/*/{name}")
        shutil.rmtree(folder)
    copied.run(overrides="[grid.lr=[0.01,0.02,0.03]]")
    assert {name: specialists(copied)[name] for name in made} == made


def test_a_pack_that_was_killed_goes_on_where_it_was(copied, warm):
    """Members that were done are not trained again, and all come out as they were."""
    before = specialists(copied)
    remove_specialists(copied)
    copied.forget_store()
    overrides = f"[{ONE}]"
    command = ["snakemake", "-c", "2", "--scheduler", "greedy"]
    run = subprocess.Popen(
        [*command, "--config", "experiment=tiny", f"overrides={overrides}"],
        cwd=copied.folder,
        env=copied.environment(),
        stderr=subprocess.DEVNULL,
    )
    while not specialists(copied) and run.poll() is None:
        time.sleep(0.01)
    assert warm.kill("shoal train-pack")
    assert run.wait() != 0
    done = {name: data for name, data in specialists(copied).items() if data}
    assert 0 < len(done) < len(before)
    times = {
        path: path.stat().st_mtime_ns
        for path in copied.generation.glob("specialists/*/*/*/*/model*")
    }

    document = planned(copied, ONE)

    assert packed(document) == [set(before) - set(done)]
    assert copied.run(overrides=overrides) == rules(document) == ["train_pack"]
    assert specialists(copied) == before
    assert all(path.stat().st_mtime_ns == value for path, value in times.items())


def test_specialists_removed_by_hand_are_packed_again(copied):
    """The status of a pack of the same members does not stand for files that are gone."""
    overrides = f"[{ON}]"
    before = specialists(copied)
    remove_specialists(copied)
    copied.forget_store()
    assert copied.run(overrides=overrides) == ["train_pack", "train_pack"]
    remove_specialists(copied)

    assert copied.plan(overrides) == ["train_pack", "train_pack"]

    assert copied.run(overrides=overrides) == ["train_pack", "train_pack"]
    assert specialists(copied) == before


def test_a_pack_takes_from_the_store_what_was_trained_before(copied):
    """Members that the model store has are not trained; their bits are those that they had."""
    before = specialists(copied)
    remove_specialists(copied)

    assert copied.run(overrides=f"[{ON}]") == ["train_pack", "train_pack"]

    assert specialists(copied) == before
    ledgers = [
        read_json(path, Any) for path in copied.generation.glob("specialists/*/*/*/*/ledger.json")
    ]
    assert all("recovered" in ledger for ledger in ledgers)


def test_a_specialist_longer_than_a_pack_may_take_has_a_job_of_its_own(copied):
    """Plan, dry run and run agree; the plan's costs are those of jobs without packs."""
    overrides = [ON, "packing.hours=1e-6", "grid.lr=[0.01,0.02,0.03]"]

    document = planned(copied, *overrides)

    assert document["packs"]["packs"] == []
    assert document["total"] == planned(copied, overrides[-1])["total"]
    assert rules(document) == copied.plan(f"[{', '.join(overrides)}]")
    assert rules(document).count("train_specialist") == 2
    assert rules(document).count("train_pack") == 0


def test_by_default_every_core_has_a_pack_and_a_lone_specialist_its_own_job(copied):
    """Whatever number of cores the run is given, plan, dry run and run list the same jobs."""
    auto = "packing.devices=auto"
    cores = len(os.sched_getaffinity(0))
    (lone, *others) = specialists(copied)
    for name in others:
        (folder,) = copied.generation.glob(f"specialists/*/{name}")
        shutil.rmtree(folder)

    document = planned(copied, auto)

    assert document["packs"]["devices"] == cores
    made = Counter(rules(document))
    alone = made["train_specialist"]
    assert len(others) == alone + sum(map(len, packed(document)))
    assert alone == sum(1 for load in range(cores) if len(others[load::cores]) == 1)
    assert rules(document) == copied.plan(f"[{auto}]")
    assert copied.run("-c", "1", overrides=f"[{auto}]") == rules(document)
    assert set(specialists(copied)) == {lone, *others}


@pytest.mark.long
def test_a_pack_and_what_follows_run_in_processes_of_their_own(copied):
    """As on a cluster: a job's Snakemake reads the Snakefile anew, when some members are there."""
    before = specialists(copied)
    remove_specialists(copied)
    copied.forget_store()
    choice = next(copied.generation.glob("choices/*/*/*/*"))
    choice.unlink()
    plugins = str(Path(__file__).parent / "plugins")
    python_path = os.pathsep.join(filter(None, [plugins, os.environ.get("PYTHONPATH")]))
    fixed = ("--executor", "child", "--jobs", "4", "--scheduler", "greedy", "--latency-wait", "5")

    target = str(choice.relative_to(copied.folder))
    result = copied.snakemake(target, *fixed, overrides=f"[{ONE}]", PYTHONPATH=python_path)

    assert result.returncode == 0, result.stderr
    assert specialists(copied) == before
    assert choice.exists()
    assert len(list(copied.generation.glob("packs/*/*.json"))) == 1
