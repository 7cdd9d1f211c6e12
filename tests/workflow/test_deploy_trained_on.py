"""Models that continue from what is deployed, run by the real Snakemake."""

from __future__ import annotations

import math
import shutil
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from shoal.formats.fitted_state import load_state
from shoal.formats.hashing import file_hash
from shoal.formats.json_file import read_json
from shoal.plan.history import History
from tests.workflow.small import CONTINUING, Experiment, as_config, write_wave

if TYPE_CHECKING:
    from pathlib import Path

FROZEN = "continuing.buffers=frozen"
DEPLOYED = "deploy.train_on=deployed"
ON = (*CONTINUING, FROZEN, "deploy=grid", "deploy.step=0.5", "deploy.most_loss=1.0", DEPLOYED)


def index(experiment: Experiment) -> dict[str, Any]:
    """The partition index of the last run."""
    layout = read_json(experiment.folder / "results/tiny/plan.json", dict[str, Any])["layout"]
    (path,) = experiment.generation.glob(f"cluster/*/indexes/{layout['index_id']}/index.json")
    return read_json(path, dict[str, Any])


def copies(experiment: Experiment) -> dict[str, Path]:
    """Folders of the copies of all releases, by identity."""
    entries = History(experiment.folder / "results" / "tiny").entries
    found = {each["copy"]["id"]: each["copy"]["manifest"] for each in entries if "copy" in each}
    return {name: (experiment.folder / path).parent for name, path in found.items()}


def test_what_continues_starts_from_what_is_deployed(copied: Experiment):
    """Specialists and generalist name the copy; what is lost comes back with the same bits.

    After removed rows they start from the copy from which the lost link was trained.
    """
    copied.run(overrides=as_config(*ON))
    write_wave(copied, 3)

    ran = copied.run(overrides=as_config(*ON))

    assert (ran.count("train_specialist"), ran.count("evaluate_generalist")) == (2, 1)
    (first, before), (_, after) = copies(copied).items()
    links = []
    for entry in index(copied)["partitions"]:
        assert entry["continued"]["copy"] == first
        (link,) = copied.generation.glob(f"specialists/*/{entry['specialist']}/0/*/model.*")
        own = before / "specialists" / f"{entry['partition']}.safetensors"
        assert load_state(link)[1]["parent"] == file_hash(own)
        links.append(link)
    whole = index(copied)["continued"]
    (link,) = copied.generation.glob(f"baselines/*/{whole['link']}/generalist.safetensors")
    assert load_state(link)[1]["parent"] == file_hash(before / "generalist.safetensors")
    assert copied.plan(overrides=as_config(*ON)) == []
    assert copied.shoal("audit", "tiny", *ON).returncode == 0
    assert copied.shoal("gc", "tiny", *ON, "--remove", "--keep", "1").returncode == 0
    kept = [*links, *(p for p in after.parent.rglob("*") if p.is_file() and "patch" not in p.name)]
    bits = {path: path.read_bytes() for path in kept}
    assert after.with_name("residual.safetensors") in bits
    shutil.rmtree(after.parent)
    for link in links:
        link.unlink()

    copied.run(overrides=as_config(*ON))

    assert {path: path.read_bytes() for path in kept} == bits
    for link in links:
        assert "recovered" in read_json(link.with_name("ledger.json"), dict[str, Any])
    path = copied.folder / "data" / "part-3.csv"
    pd.read_csv(path).iloc[20:].to_csv(path, index=False)

    copied.run(overrides=as_config(*ON))

    for entry in index(copied)["partitions"]:
        assert entry["rewound"]["links"] == 0
        assert entry["continued"]["copy"] == first
    assert index(copied)["continued"]["copy"] == first
    assert index(copied)["continued"]["weights"] == whole["weights"]


def test_a_second_training_moves_what_the_first_moves_most(copied: Experiment):
    """Of specialists and generalist alike; copies follow them, and the account has both."""
    masked = (
        *CONTINUING,
        FROZEN,
        "deploy=sparse",
        "deploy.choice=mask",
        DEPLOYED,
        "deploy.most_loss=1.0",
    )
    on = as_config(*masked)
    copied.run(overrides=on)
    write_wave(copied, 3)

    copied.run(overrides=on)

    before, after = copies(copied).values()
    found = index(copied)
    files = {
        f"specialists/{entry['partition']}": f"specialists/*/{entry['specialist']}/0/*/model"
        for entry in found["partitions"]
    }
    files["generalist"] = f"baselines/*/{found['continued']['link']}/generalist"
    for continued in (found["continued"], *(each["continued"] for each in found["partitions"])):
        assert continued["moves"] == 0.1
    for name, pattern in files.items():
        (trained,) = copied.generation.glob(f"{pattern}.safetensors")
        held, now, link = (
            load_state(path)[0]
            for path in (before / f"{name}.safetensors", after / f"{name}.safetensors", trained)
        )
        moved = {tensor: link[tensor] != values for tensor, values in held.items()}
        count = sum(int(each.sum()) for each in moved.values())
        assert 0 < count <= math.ceil(0.1 * sum(each.size for each in moved.values()))
        for tensor, own in moved.items():
            assert not (now[tensor] != held[tensor])[~own].any()
        ledger = trained.with_name("generalist.json" if name == "generalist" else "ledger.json")
        assert len(read_json(ledger, dict[str, Any])["learning_curves"]) == 2
    assert copied.plan(overrides=on) == []
    assert copied.shoal("audit", "tiny", *masked).returncode == 0


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (("deploy=sparse", DEPLOYED), "deploy.train_on"),
        ((*CONTINUING, "deploy=grid", DEPLOYED), "continuing.buffers"),
        (("deploy=exact", DEPLOYED), "train_on"),
        ((*CONTINUING, FROZEN, "deploy=sparse", "deploy.choice=mask"), "deploy.choice"),
    ],
)
def test_settings_that_make_no_sense_are_refused(finished: Experiment, overrides, named):
    """In one line, before anything runs."""
    result = finished.snakemake("-n", overrides=as_config(*overrides))

    assert result.returncode == 2
    assert named in result.stderr
