"""A real Slurm for tests: started where root and apt allow it, and stopped afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.workflow.small import ROOT, Experiment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MINI_SLURM = Path(__file__).with_name("mini-slurm")
SOON = ["--slurm-init-seconds-before-status-checks", "1"]
_FIELDS = "JobIDRaw,Comment,Partition,NodeList,State,AllocTRES,ReqMem,TimelimitRaw,Start,End"


@dataclass(frozen=True)
class SlurmJob:
    """What Slurm's accounting says of a job."""

    number: int
    rule: str
    partition: str
    nodes: str
    state: str
    gpus: int
    memory_mb: int
    minutes: int
    start: str
    end: str


@dataclass
class Cluster:
    """A running Slurm, and the jobs that it has seen since a test began."""

    since: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%S"))

    def jobs(self, rule: str | None = None) -> list[SlurmJob]:
        """Jobs that were submitted since then, of one rule if wanted, in order."""
        text = _output("sacct", "-n", "-P", "-X", "-D", "-S", self.since, f"--format={_FIELDS}")
        # Accounting is told a job's comment when the job has ended.
        queue = _output("squeue", "--noheader", "--format=%i|%k").splitlines()
        comments = dict(line.split("|") for line in queue)
        found = [_job(line.split("|"), comments) for line in text.splitlines()]
        return [job for job in found if rule in (None, job.rule)]

    def exceeded_memory(self, job: SlurmJob) -> bool:
        """Whether Slurm ended a job because it took more memory than was asked for."""
        log = Path("/var/lib/mini-slurm", f"slurmd.{job.nodes}.log").read_text()
        return f"StepId={job.number}.batch exceeded memory limit" in log

    def steps(self, job: SlurmJob) -> list[str]:
        """Names of a job's steps."""
        text = _output("sacct", "-n", "-P", "-j", str(job.number), "--format=JobID,JobName")
        lines = (line.split("|") for line in text.splitlines())
        return [name for step, name in lines if "." in step]

    def run(
        self, experiment: Experiment, *arguments: str, overrides: str = "[]", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """``snakemake --profile slurm`` in an experiment's folder, asking for states soon."""
        return experiment.snakemake(
            "--profile", "slurm", *SOON, *arguments, overrides=overrides, **environment
        )

    def start(
        self, experiment: Experiment, *arguments: str, overrides: str = "[]"
    ) -> subprocess.Popen[str]:
        """The same, not waited for; its output goes to ``run.log`` in the folder."""
        with (experiment.folder / "run.log").open("w") as log:
            return subprocess.Popen(
                ["snakemake", "--profile", "slurm", *SOON, *arguments,
                 "--config", "experiment=tiny", f"overrides={overrides}"],
                cwd=experiment.folder,
                env=experiment.environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )  # fmt: skip

    def wait_for(self, rule: str, states: str, seconds: int = 180) -> SlurmJob:
        """The newest job of a rule that is in one of the states, once there is one."""
        for _ in range(seconds * 2):
            found = [job for job in self.jobs(rule) if job.state in states.split()]
            if found:
                return found[-1]
            time.sleep(0.5)
        raise AssertionError(f"no {rule} was {states} within {seconds} s: {self.jobs()}")


def _job(values: list[str], comments: Mapping[str, str]) -> SlurmJob:
    number, comment, partition, nodes, state, tres, memory, minutes, start, end = values
    rule = (comment or comments.get(number, "")).removeprefix("rule_").split("_wildcards_")[0]
    allocated = dict(part.split("=") for part in tres.split(",") if part)
    return SlurmJob(
        int(number),
        rule,
        partition,
        nodes,
        state.split()[0],
        int(allocated.get("gres/gpu", 0)),
        int(float(memory.rstrip("MG")) * (1024 if memory.endswith("G") else 1)),
        int(minutes or 0),
        start,
        end,
    )


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _running() -> bool:
    try:
        answer = subprocess.run(["scontrol", "ping"], capture_output=True, timeout=30, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0


@pytest.fixture(scope="session")
def slurm() -> Iterator[None]:
    """A Slurm that runs; the test is skipped, and says so, where none can be started."""
    if _running():
        yield
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("real Slurm NOT tested: it is started only as root on Debian")
    result = subprocess.run([MINI_SLURM, "up"], capture_output=True, text=True, check=False)
    if result.returncode:
        # What is installed without a controller would hold up each further snakemake for seconds.
        os.environ["SLURM_CONF"] = "/dev/null"
        pytest.skip(f"real Slurm NOT tested: {result.stderr.strip() or result.stdout.strip()}")
    yield
    subprocess.run([MINI_SLURM, "down"], check=True)


@pytest.fixture
def cluster(slurm: None) -> Cluster:
    """The cluster, with an eye on what is submitted from now on."""
    time.sleep(1)  # sacct's times are whole seconds
    return Cluster()


@pytest.fixture
def ran(finished: Experiment, tmp_path: Path) -> Experiment:
    """A copy of an experiment that has run here to its end, in which Slurm can go on."""
    copy = finished.copy(tmp_path / "experiment")
    (copy.folder / "slurm").symlink_to(ROOT / "slurm")
    return Experiment(copy.folder)
