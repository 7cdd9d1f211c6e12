"""What takes many minutes on a real Slurm: the demo, and faults in mid-run. `make slurm`."""

import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.slurm.conftest import MINI_SLURM, Cluster, SlurmJob
from tests.slurm.test_slurm import TRAIN_ON_GPUS, most_gpus_at_once, spying_programs
from tests.workflow.small import ROOT, Experiment

pytestmark = pytest.mark.campaign
LONGER = "[train_specialists.rows_seen=400000, train_specialists.base_share=0.01]"
"""Makes a specialist train for many seconds."""
MANY = LONGER.replace("]", ", grid.lr=[0.01,0.011,0.012,0.013,0.014,0.015,0.016,0.017]]")
"""Sixteen of them: a job that is requeued waits two minutes, others can be disturbed meanwhile."""


def bits(experiment: Experiment) -> dict[str, bytes]:
    """Weights of everything trained, the routers, and the published pool's."""
    results = experiment.folder / "results"
    paths = [
        *results.glob("*/g1/specialists/*/*/*/*/model.safetensors"),
        *results.glob("*/g1/router/*/*/router.safetensors"),
        *results.glob("*/pool/*.s*"),
    ]
    return {str(path.relative_to(results)): path.read_bytes() for path in sorted(paths)}


def forget_trainings(experiment: Experiment) -> None:
    """Remove all specialists and what was made from them."""
    for stage in ("specialists", "choices", "router"):
        shutil.rmtree(experiment.generation / stage)
    experiment.forget_store()


def finish(running: subprocess.Popen[str], experiment: Experiment) -> None:
    """Wait for a run's good end."""
    code = running.wait(timeout=1800)
    assert code == 0, (experiment.folder / "run.log").read_text()[-5000:]


def test_the_demo_runs_by_the_literal_command(cluster: Cluster, tmp_path: Path):
    """From nothing to the verdict; training on GPUs that it sees, data stages on the CPU node."""
    for name in ("Snakefile", "workflow", "config", "envs", "profiles", "examples", "slurm"):
        (tmp_path / name).symlink_to(ROOT / name)
    experiment = Experiment(tmp_path, spying_programs(tmp_path))

    result = subprocess.run(
        ["snakemake", "--profile", "slurm", "--config", "overrides=[packing.devices=4]"],
        cwd=tmp_path,
        env=experiment.environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr[-5000:]
    jobs = cluster.jobs()
    assert {job.state for job in jobs} == {"COMPLETED"}
    assert len(cluster.jobs("train_pack")) == 4
    for job in jobs:
        assert (job.partition, job.gpus) == (
            ("gpu", 1) if job.rule in TRAIN_ON_GPUS else ("cpu", 0)
        ), job
    assert most_gpus_at_once(jobs) <= 4
    seen = [line.split() for line in (tmp_path / "seen").read_text().splitlines()]
    assert all(len(line) == 2 for line in seen if line[0].startswith(("train-pack", "base-fit")))
    assert json.loads((tmp_path / "results/demo/metrics.json").read_text())["verdict"]


def test_cancelled_and_requeued_trainings_end_with_the_same_bits(ran: Experiment, cluster: Cluster):
    """20 times scancel or scontrol requeue at a random moment of training change no bit."""
    forget_trainings(ran)
    ran.run("--until", "train_router", overrides=MANY)
    undisturbed, chance, hits, seen = bits(ran), random.Random(0), 0, set[int]()
    while hits < 20:
        forget_trainings(ran)
        patient = ("--until", "train_router", "--retries", "20")
        running = cluster.start(ran, *patient, overrides=MANY)
        while running.poll() is None and hits < 20:
            hits += disturb(cluster, chance, seen)
        finish(running, ran)
        assert bits(ran) == undisturbed
    sys.stdout.write(f"{hits} trainings cancelled or requeued\n")


def disturb(cluster: Cluster, chance: random.Random, seen: set[int]) -> int:
    """Cancel or requeue a specialist that trains, each job once; whether there was one."""
    time.sleep(chance.uniform(0, 3))
    jobs = [job for job in cluster.jobs("train_specialist") if job.state == "RUNNING"]
    fresh = [job for job in jobs if job.number not in seen]
    if not fresh:
        return 0
    job = chance.choice(fresh)
    seen.add(job.number)
    time.sleep(chance.uniform(5, 25))
    command = chance.choice([["scancel"], ["scontrol", "requeue"]])
    done = subprocess.run([*command, str(job.number)], capture_output=True, check=False)
    return int(done.returncode == 0)


def test_a_job_past_its_walltime_gets_more_and_goes_on(ran: Experiment, cluster: Cluster):
    """The second attempt has twice the time, and starts where the first one was stopped."""
    shutil.rmtree(ran.folder / "results" / "tiny" / "benchmarks")
    longest = LONGER.replace("400000", "1500000")
    overrides = longest.replace("]", ", nodes.first.minutes=1, grid.lr=[0.01]]")

    result = cluster.run(ran, "--until", "train_specialist", overrides=overrides)

    assert result.returncode == 0, result.stderr[-5000:]
    attempts = cluster.jobs("train_specialist")
    assert "TIMEOUT" in {job.state for job in attempts}
    assert max(job.minutes for job in attempts if job.state == "COMPLETED") in (2, 4)


def test_shards_share_a_job_where_snakemake_groups_them(ran: Experiment, cluster: Cluster):
    """Two shards in a group are one job of one step, and give what two jobs give."""
    tables = sorted(ran.generation.glob("split/*/rows/*/*.parquet"))
    content = [path.read_bytes() for path in tables]
    for path in tables:
        path.unlink()
    grouped = ("--groups", "split=split", "--group-components", "split=2")

    result = cluster.run(ran, *grouped, "--until", "split", overrides="[nodes.first.memory_mb=500]")

    assert result.returncode == 0, result.stderr[-5000:]
    assert [path.read_bytes() for path in tables] == content
    assert len(cluster.jobs()) == -(-len(tables) // 2)


def test_a_node_that_is_drained_in_mid_run_costs_nothing(ran: Experiment, cluster: Cluster):
    """Its job ends, the next ones go elsewhere."""
    shutil.rmtree(ran.generation / "specialists")
    ran.forget_store()
    running = cluster.start(ran)
    job = cluster.wait_for("train_specialist", "RUNNING")
    try:
        slurm("scontrol", "update", f"nodename={job.nodes}", "state=drain", "reason=test")
        finish(running, ran)
    finally:
        slurm("scontrol", "update", f"nodename={job.nodes}", "state=resume")
    assert {each.state for each in cluster.jobs()} == {"COMPLETED"}


@pytest.mark.parametrize(("daemon", "seconds"), [("slurmctld", 5), ("slurmdbd", 60)])
def test_a_daemon_that_is_away_in_mid_run_costs_nothing(
    ran: Experiment, cluster: Cluster, daemon: str, seconds: int
):
    """The controller restarted, or accounting down for a minute: the run ends right."""
    before = bits(ran)
    shutil.rmtree(ran.generation / "specialists")
    ran.forget_store()
    running = cluster.start(ran)
    job: SlurmJob = cluster.wait_for("train_specialist", "RUNNING")
    assert job.gpus == 1
    slurm(str(MINI_SLURM), "stop", daemon)
    time.sleep(seconds)
    slurm(str(MINI_SLURM), "start", daemon)
    finish(running, ran)
    assert bits(ran) == before


def slurm(*command: str) -> None:
    """Run a command of Slurm's, or of its stand-in."""
    subprocess.run(command, check=True, capture_output=True)
