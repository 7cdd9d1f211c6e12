"""Models that continue: a change trains on from what is there, and gives the bits of a replay."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from shoal.formats.fitted_state import load_state
from shoal.formats.json_file import read_json
from shoal.operate.audit.audit import audit
from shoal.operate.gc import find_garbage
from shoal.plan.plan import Plan
from tests.workflow.small import (
    CONTINUING,
    Experiment,
    as_config,
    remove_training_row,
    write_wave,
)

ON = as_config(*CONTINUING)
TRAINED = ("train_specialist", "evaluate_generalist", "evaluate_random", "base_fit")


def plan(experiment: Experiment, monkeypatch) -> Plan:
    """The plan of an experiment that continues."""
    monkeypatch.chdir(experiment.folder)
    return Plan("tiny", list(CONTINUING), Path("config"))


def index(experiment: Experiment) -> dict[str, Any]:
    """The partition index of the last run."""
    layout = read_json(experiment.folder / "results/tiny/plan.json", dict[str, Any])["layout"]
    (path,) = experiment.generation.glob(f"cluster/*/indexes/{layout['index_id']}/index.json")
    return read_json(path, dict[str, Any])


def entries(experiment: Experiment) -> list[dict[str, Any]]:
    """Its partitions."""
    return list(index(experiment)["partitions"])


def weights(experiment: Experiment) -> dict[str, bytes]:
    """Weights of the published pool, by name."""
    pool = experiment.folder / "results" / "tiny" / "pool"
    return {
        f"{path.name}/{name}": array.tobytes()
        for path in sorted(pool.rglob("*.safetensors"))
        for name, array in load_state(path)[0].items()
    }


def test_new_rows_train_a_link_on_them_and_as_many_others(two_waves):
    """Each specialist goes on from the one before; what it sees is new rows and its history."""
    for entry in entries(two_waves):
        continued = entry["continued"]
        assert continued["links"] == 2
        assert continued["drawn"] == continued["added"] > 0
        (path,) = two_waves.generation.glob(f"specialists/*/{entry['specialist']}/0/*/ledger.json")
        ledger = json.loads(path.read_text())
        meta = load_state(path.with_name("model.safetensors"))[1]
        assert meta["rows"] == continued["added"] + continued["drawn"]
        assert meta["continues"] == continued["specialist"]
        assert ledger["detail"]["before"] == pytest.approx(continued["spent"])
        assert ledger["flops"] > continued["spent"]


def test_the_generalist_goes_on_by_the_same_rows(two_waves):
    """It has seen what all partitions have, and is named by its link."""
    content = index(two_waves)
    own = content["continued"]
    assert own["links"] == 2
    assert own["added"] == sum(each["continued"]["added"] for each in content["partitions"])
    (path,) = two_waves.generation.glob(f"baselines/*/{own['link']}/generalist.safetensors")
    assert load_state(path)[1]["continues"] == own["specialist"]
    metrics = two_waves.metrics()
    flops = json.loads(path.with_suffix(".json").read_text())["flops"]
    assert metrics["generalist"]["train_flops"] == pytest.approx(flops)


def test_an_undone_wave_trains_nothing(two_waves, tmp_path):
    """The last link but one is found again, with the bits that it had; and the last once more."""
    own = two_waves.copy(tmp_path / "experiment")
    after, path = weights(own), own.folder / "data" / "part-4.csv"
    content = path.read_text()
    path.unlink()

    ran = Counter(own.run(overrides=ON))
    assert [ran[name] for name in TRAINED] == [0, 0, 0, 0]
    assert [each["continued"]["links"] for each in entries(own)] == [1, 1]
    path.write_text(content)
    ran = Counter(own.run(overrides=ON))

    assert [ran[name] for name in TRAINED] == [0, 0, 0, 0]
    assert weights(own) == after


def test_a_removed_row_of_the_last_wave_is_rewound(two_waves, tmp_path, monkeypatch):
    """The link before it is gone on from, by what is left of the wave; the plan says so."""
    own = two_waves.copy(tmp_path / "experiment")
    path = own.folder / "data" / "part-4.csv"
    pd.read_csv(path).iloc[20:].to_csv(path, index=False)

    said = own.shoal("plan", "tiny", *CONTINUING).stdout
    ran = Counter(own.run(overrides=ON))

    assert "rewound to link 1" in said
    assert "link 2: +" in said
    assert [ran[name] for name in TRAINED] == [2, 1, 0, 0]
    for entry in entries(own):
        assert entry["rewound"]["links"] == 1
        assert entry["continued"]["links"] == 2
    assert audit(plan(own, monkeypatch)).findings == ()


def test_a_removed_row_of_the_first_run_starts_its_partition_from_the_base(two_waves, tmp_path):
    """Every link of that partition has seen it; the other partition keeps its own."""
    own = two_waves.copy(tmp_path / "experiment")
    before = entries(own)
    remove_training_row(own)

    said = own.shoal("plan", "tiny", *CONTINUING).stdout
    ran = Counter(own.run(overrides=ON))

    assert "Partition 0: from the base, 1 removed, which every specialist before has seen" in said
    assert ran["train_specialist"] == 1
    after = entries(own)
    assert "continued" not in after[0]
    assert after[1]["specialist"] == before[1]["specialist"]


@pytest.mark.long
def test_a_replay_gives_the_same_names_and_bits(two_waves, tmp_path):
    """The same files in the same order make the same releases elsewhere; the command says so."""
    own = two_waves.copy(tmp_path / "experiment")

    done = own.shoal("replay", "tiny", "--out", "again", "--cores", "2")

    assert done.returncode == 0, done.stderr + done.stdout
    *lines, last = done.stdout.splitlines()
    links = [0, 0, 1, 2]
    for number, line in zip(links, lines, strict=True):
        assert f"links {number} to {number}: same names, same bits of" in line
    assert last == "4 of 4 releases came out the same: again"
    again = Experiment(own.folder / "again")
    assert index(again)["root"] == index(two_waves)["root"]
    assert weights(again) == weights(two_waves)


def test_all_rows_at_once_are_trained_from_the_base(two_waves, experiment):
    """Without a history there is nothing to continue from, and names are others."""
    for number in (3, 4):
        write_wave(experiment, number)
    experiment.run(overrides=ON)

    assert not any("continued" in each for each in entries(experiment))
    assert index(experiment)["root"]["train"] != index(two_waves)["root"]["fit"]


def test_garbage_collection_keeps_what_may_be_gone_back_to(two_waves, tmp_path, monkeypatch):
    """After it, a row of the last wave that goes is still rewound."""
    own = two_waves.copy(tmp_path / "experiment")
    find_garbage([plan(own, monkeypatch)], 1).remove()
    own.forget_store()
    path = own.folder / "data" / "part-4.csv"
    pd.read_csv(path).iloc[20:].to_csv(path, index=False)

    own.run(overrides=ON)

    assert all(each["continued"]["links"] == 2 for each in entries(own))


def test_a_link_that_is_lost_comes_out_with_the_same_bits(two_waves, tmp_path):
    """It is a function of its parent, its rows and the settings that the index names."""
    own = two_waves.copy(tmp_path / "experiment")
    own.forget_store()
    (entry, _) = entries(own)
    (path,) = own.generation.glob(f"specialists/*/{entry['specialist']}/0/*/model.safetensors")
    before = path.read_bytes()
    path.unlink()

    own.run(overrides=ON)

    assert load_state(path)[0].keys() == load_state(path)[0].keys()
    assert path.read_bytes() == before


def test_a_crash_while_publishing_loses_no_link(two_waves, tmp_path):
    """While nothing is published, the release before says what models continue from."""
    own = two_waves.copy(tmp_path / "experiment")
    write_wave(own, 5)
    other = own.copy(tmp_path / "other")
    other.run(overrides=ON)
    for path in (own.folder / "results" / "tiny" / "published").glob("*.json"):
        path.unlink()

    own.run(overrides=ON)

    assert index(own) == index(other)
    assert [each["continued"]["links"] for each in entries(own)] == [3, 3]


def test_with_another_router_specialists_stay_and_the_generalist_is_its_own(two_waves, tmp_path):
    """A generalist is of the pools that it is compared with; a link of it is of no others."""
    own = two_waves.copy(tmp_path / "experiment")
    before = [each["specialist"] for each in entries(own)]

    ran = Counter(own.run(overrides=as_config(*CONTINUING, "train_router.temperature=0.5")))

    assert [ran[name] for name in TRAINED] == [0, 1, 1, 0]
    assert [each["specialist"] for each in entries(own)] == before
    assert "continued" not in index(own)
