"""A channel of copies for devices, run by the real Snakemake."""

from __future__ import annotations

import shutil
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

import shoal
from shoal.errors import SettingsError
from shoal.formats.json_file import read_json
from shoal.plan.history import History
from shoal.settings.deploying import Exact
from shoal.workflow.start import check_graphs
from tests.workflow.small import Experiment, as_config, write_rows

GRID = ("deploy=grid", "deploy.most_loss=1.0")
ON = as_config(*GRID)


def channel(experiment: Experiment) -> dict[str, Any]:
    """What is published of the channel."""
    found: dict[str, Any] = read_json(
        experiment.folder / "results" / "tiny" / "deploy" / "channel.json", dict
    )
    return found


def test_a_device_follows_a_channel(copied: Experiment, tmp_path):
    """It takes a copy once, and with the next release a patch that gives the next copy's bits."""
    results = copied.folder / "results" / "tiny"
    assert copied.run(overrides=ON) == ["answers", "deploy_copy", "pool_publish"]
    device = shutil.copytree(results / "deploy" / "copy", tmp_path / "device")
    first = channel(copied)
    assert first["patches"] == {}
    assert copied.plan(overrides=ON) == []
    write_rows(copied.folder / "data" / "part-3.csv", 3)

    ran = copied.run(overrides=ON)

    assert (ran.count("deploy_copy"), ran.count("deploy_patch")) == (1, 1)
    patch = channel(copied)["patches"][first["manifest"]]
    applied = copied.shoal("patch", "apply", str(device), str(results / "deploy" / patch["file"]))
    assert applied.returncode == 0, applied.stderr
    assert shoal.load(device).digest == shoal.load(results / "deploy" / "copy").digest
    rows = pd.read_csv(copied.folder / "data" / "part-3.csv")
    assert shoal.load(device).predict(rows).num_rows == len(rows)
    assert len(read_json(device / "gate.json", dict)["bins"]["distance"]) == 6
    entries = History(results).entries
    assert [len(entry.get("copy", {})) for entry in entries] == [0, 2, 2]
    assert copied.run(overrides=ON) == []
    assert copied.shoal("audit", "tiny", *GRID).returncode == 0
    assert copied.shoal("gc", "tiny", *GRID, "--remove", "--keep", "1").returncode == 0
    assert len(list(copied.generation.glob("deploy/*/*/*/copy/manifest.json"))) == 2
    again = copied.shoal("patch", "apply", str(device), str(results / "deploy" / patch["file"]))
    assert again.returncode == 2
    assert again.stderr.count("\n") == 1
    assert "for a pool with manifest" in again.stderr


def test_without_a_channel_nothing_is_deployed(finished: Experiment):
    """The default makes no file and adds nothing to a release."""
    assert not (finished.folder / "results" / "tiny" / "deploy").exists()
    assert not list(finished.generation.glob("deploy"))
    assert "copy" not in History(finished.folder / "results" / "tiny").entries[-1]


@pytest.mark.parametrize("value", ["deploy.step=0", "deploy.dead_zone=0.2", "deploy.most_loss=-1"])
def test_settings_that_make_no_sense_are_refused(finished: Experiment, value):
    """A grid of no size, moves across the middle of two multiples, and a gain that is asked for."""
    result = finished.snakemake("-n", overrides=as_config("deploy=grid", value))

    assert result.returncode == 2
    assert value.partition("=")[0] in result.stderr


@pytest.mark.parametrize(
    ("task", "found", "message"),
    [
        ("classification", None, r"deploy.graph: the graph of model my.Net needs more packages"),
        ("own", "there", "deploy.graph: model my.Net has a loss of its own"),
    ],
)
def test_a_graph_that_cannot_be_made_is_refused_before_the_first_job(
    monkeypatch, task, found, message
):
    """By a plan, in a line; a model that needs none is fine."""
    monkeypatch.setattr("shoal.deploy.graph.find_spec", lambda _: found)
    deploy = Exact(method="exact", graph=True)

    def plans(target: str) -> Any:
        model, sources = SimpleNamespace(target=target), SimpleNamespace(task=task)
        settings = SimpleNamespace(deploy=deploy, model=model, sources=sources)
        plan = SimpleNamespace(settings=settings)
        return SimpleNamespace(all=[plan], jobs_have_own_environments=False)

    check_graphs(plans("shoal.models.MLP"))
    with pytest.raises(SettingsError, match=message):
        check_graphs(plans("my.Net"))
