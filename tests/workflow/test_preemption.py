"""Jobs of the real workflow that are ended and run again."""

import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.workflow.small import Experiment

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
        kept = list(experiment.generation.glob("specialists/*/*/*/model.checkpoint.safetensors"))
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


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_specialist_that_was_ended_goes_on_when_the_workflow_is_run_again(
    number, copied, finished, tmp_path, warm
):
    """Its bits are those of a run that nothing ended, and its log says where it went on."""
    before = set(specialists(finished))
    undisturbed = Experiment(tmp_path / "undisturbed", warm.bin)
    subprocess.run(["cp", "-a", finished.folder, undisturbed.folder], check=True)
    undisturbed.run(*ARGUMENTS[4:], overrides=LONG)

    end_a_training(copied, number)
    copied.run(*ARGUMENTS[4:], overrides=LONG)

    made = specialists(copied)
    assert len(set(made) - before) == 2
    assert made == specialists(undisturbed)
    logs = (copied.folder / "logs").rglob("train_specialist/*/*/*.log")
    assert sum("goes on after step" in path.read_text() for path in logs) == 1
