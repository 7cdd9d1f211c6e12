"""Jobs of the real workflow that are ended and run again, or see several devices."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from shoal.formats.fitted_state import load_state
from shoal.formats.json_file import read_json
from tests.workflow.small import ROOT, Experiment

LONG = "[train_specialists.rows_seen=200000,grid.lr=[0.01],compute.checkpoint_seconds=0.1]"
ARGUMENTS = ("-c", "1", "--scheduler", "greedy", "--until", "train_specialist")


def end_a_training(experiment: Experiment, number: int) -> None:
    """Run until a specialist has a checkpoint, send its process a signal, and wait."""
    command = ["snakemake", *ARGUMENTS, "--config", "experiment=tiny", f"overrides={LONG}"]
    run = subprocess.Popen(
        command,
        cwd=experiment.folder,
        env=experiment.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    kept = []
    while not kept:
        assert run.poll() is None
        time.sleep(0.05)
        kept = list(experiment.generation.glob("specialists/*/*/*/*/model.checkpoint.safetensors"))
    training(experiment).send_signal(number)
    assert run.wait() == 1


def training(experiment: Experiment) -> psutil.Process:
    """The process that trains a specialist in an experiment's folder."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if "train-specialist" in process.cmdline() and process.cwd() == str(experiment.folder):
                return process
    raise AssertionError("no specialist is being trained")


def specialists(experiment: Experiment) -> dict[Path, bytes]:
    """Bytes of the specialists, by path."""
    folder = experiment.generation / "specialists"
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("model.*")}


@pytest.fixture(scope="module")
def undisturbed(finished, tmp_path_factory: pytest.TempPathFactory):
    """A run that nothing ended. Tests must leave it as it is."""
    copy = finished.copy(tmp_path_factory.mktemp("undisturbed") / "experiment")
    copy.run(*ARGUMENTS[4:], overrides=LONG)
    return copy


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_specialist_that_was_ended_goes_on_when_the_workflow_is_run_again(
    number, copied, finished, undisturbed
):
    """Its bits are those of a run that nothing ended, and its log says where it went on."""
    before = set(specialists(finished))

    end_a_training(copied, number)
    copied.run(*ARGUMENTS[4:], overrides=LONG)

    made = specialists(copied)
    assert len(set(made) - before) == 2
    assert made == specialists(undisturbed)
    logs = (copied.folder / "logs").rglob("train_specialist/*/*/*/*.log")
    assert sum("goes on after step" in path.read_text() for path in logs) == 1


@pytest.mark.long
def test_the_generalist_is_trained_on_all_devices_that_its_job_sees(copied, finished, tmp_path):
    """Both grid points share their batches among two processes; one of them writes, once."""
    (model,) = copied.generation.glob("baselines/*/generation/generalist.safetensors")
    model.unlink()
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "shoal"
    command = f'exec {sys.executable} -m tests.two_devices "$@"'
    program.write_text(f"#!/bin/sh\nexport PYTHONPATH={ROOT}:$PYTHONPATH\n{command}\n")
    program.chmod(0o755)
    environment = copied.environment()
    path = f"{program.parent}{os.pathsep}{environment['PATH']}"

    assert copied.run(PATH=path) == ["evaluate_generalist"]

    inside = model.relative_to(copied.folder)
    first, second = (load_state(e.folder / inside)[0] for e in (finished, copied))
    for name in first:
        np.testing.assert_allclose(first[name], second[name], rtol=0, atol=1e-3)
    before, after = (
        read_json(e.folder / inside.with_suffix(".json"), Any) for e in (finished, copied)
    )
    assert (before["flops"], before["rows_seen"]) == (after["flops"], after["rows_seen"])
