"""The workflow on a real Slurm."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.slurm.conftest import Cluster, SlurmJob
from tests.workflow.small import Experiment, nudge_training_rows

pytestmark = pytest.mark.long
TRAIN_ON_GPUS = {
    "base_fit",
    "train_specialist",
    "train_pack",
    "evaluate_generalist",
    "evaluate_random",
}


def most_gpus_at_once(jobs: list[SlurmJob]) -> int:
    """GPUs that were allocated at the same time, at most; times are whole seconds."""
    return max(sum(job.gpus for job in jobs if job.start <= at.start < job.end) for at in jobs)


def test_a_data_change_submits_the_jobs_of_its_partition_alone(ran: Experiment, cluster: Cluster):
    """By sacct: its specialists, each on a GPU that it sees; the data's stages on the CPU node.

    Each is one step: one Snakemake, which runs the command itself.
    """
    nudge_training_rows(ran, 2)
    ran.programs = spying_programs(ran.folder)

    result = cluster.run(ran, "--omit-from", "train_router", "evaluate_random")

    assert result.returncode == 0, result.stderr
    jobs = cluster.jobs()
    assert {job.state for job in jobs} == {"COMPLETED"}
    assert len(cluster.jobs("train_specialist")) == 2
    assert len(cluster.jobs("train_choose")) == 1
    assert not TRAIN_ON_GPUS - {"train_specialist"} & {job.rule for job in jobs}
    for job in jobs:
        on_gpu = job.rule in TRAIN_ON_GPUS
        assert (job.partition, job.gpus) == (("gpu", 1) if on_gpu else ("cpu", 0)), job
        assert cluster.steps(job) == ["batch"]
    assert most_gpus_at_once(jobs) <= 4
    seen = [line.split() for line in (ran.folder / "seen").read_text().splitlines()]
    assert all(len(line) == 2 for line in seen if line[0] == "train-specialist"), seen
    assert all(len(line) == 1 for line in seen if line[0] in ("split", "encode")), seen


def programs(folder: Path, first: str) -> Path:
    """A ``shoal`` that runs a line of shell, then is the real one."""
    made = folder / "programs"
    made.mkdir()
    script = made / "shoal"
    script.write_text(f'#!/bin/sh\n{first}\nexec {shutil.which("shoal")} "$@"\n')
    script.chmod(0o755)
    return made


def spying_programs(folder: Path) -> Path:
    """A ``shoal`` that notes its command and ``CUDA_VISIBLE_DEVICES``, then is the real one."""
    return programs(folder, f'echo "$1 $CUDA_VISIBLE_DEVICES" >> {folder}/seen')


HUNGRY = f"""[ "$1" = train-specialist ] && {sys.executable} -c '
import time
held = b"x" * (500 << 20)
time.sleep(6)'
"""
"""Holds more memory than is asked for a job whose ledgers promise none, until Slurm has looked."""


def test_a_job_killed_for_its_memory_asks_for_more_and_succeeds(ran: Experiment, cluster: Cluster):
    """Where past ledgers promise too little, the second or third attempt gets what it takes."""
    for ledger in ran.generation.glob("specialists/*/*/*/*/ledger.json"):
        content = json.loads(ledger.read_text()) | {"peak_memory_bytes": 1}
        ledger.write_text(json.dumps(content))
    (model, *_) = sorted(ran.generation.glob("specialists/*/*/*/*/model.safetensors"))
    bits = model.read_bytes()
    model.unlink()
    ran.forget_store()
    ran.programs = programs(ran.folder, HUNGRY)

    result = cluster.run(ran, "--until", "train_specialist", overrides="[nodes.safety=1]")

    assert result.returncode == 0, result.stderr
    attempts = cluster.jobs("train_specialist")
    assert len(attempts) > 1
    assert all(cluster.exceeded_memory(job) for job in attempts[:-1])
    assert attempts[-1].state == "COMPLETED"
    assert [job.memory_mb for job in attempts] == sorted({job.memory_mb for job in attempts})
    assert model.read_bytes() == bits


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("nodes.classes.gpu.partition=gpus", ["no partition 'gpus'", "did you mean 'gpu'?"]),
        ("nodes.account=nobody", ["no account 'nobody'", "known: root"]),
        ("nodes.classes.gpu.gpu_model=a100", ["no GPU of type 'a100'", "2 h200"]),
    ],
)
def test_what_the_cluster_does_not_have_is_one_line(
    ran: Experiment, cluster: Cluster, override: str, parts: list[str]
):
    """A wrong partition, account or GPU type is told before a job is submitted."""
    nudge_training_rows(ran, 1)

    result = cluster.run(ran, "--quiet", "all", overrides=f"[{override}]")

    assert result.returncode == 2
    (line,) = [text for text in result.stderr.splitlines() if "error" in text]
    assert all(part in line for part in ["shoal: error: nodes.", *parts])
    assert cluster.jobs() == []


def test_the_literal_command_works_with_a_fresh_home(ran: Experiment, slurm: None):
    """`snakemake --profile slurm` finds the profile in the repository, whoever calls it."""
    home = ran.folder / "home"
    home.mkdir()
    clean = {"HOME": str(home), "XDG_CONFIG_HOME": "", "PYTHONUSERBASE": ""}

    result = ran.snakemake("--profile", "slurm", "--dry-run", **clean)

    assert result.returncode == 0, result.stderr
    assert "Using profile slurm" in result.stdout + result.stderr
