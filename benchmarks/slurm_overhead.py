"""What a job on Slurm takes beyond its command: who holds the node, and for how long.

    tests/slurm/mini-slurm up
    python -m benchmarks.slurm_overhead --jobs 16

Splits files of a small table on Slurm, one job per file, two at a time, with the literal profile.
A stand-in for ``shoal`` notes when the command begins and ends, and when each Snakemake of its job
began; Slurm's accounting says when the job did, in whole seconds, and its CPU seconds. So each
phase of a job has a mean over all jobs:

- until Snakemake's process: Slurm's own start of a job;
- each Snakemake before the command: its imports, the Snakefile, the job's DAG;
- the command itself, of which the imports of a command that does nothing are told apart;
- after the command: Snakemake's look at the outputs, its end, and Slurm's end of a job.

Beside it: the plugin's own way, which starts Snakemake twice (a run without hooks has it), and
``sbatch`` with the bare command. A share is that of a job whose command takes a minute.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.whole_chain import NAME, project, write_source

ROOT = Path(__file__).parents[1]
MINUTE = 60.0
ROWS = 2_000
STAND_IN = """\
#!{python} -IS
import json, os, sys, time

def begun(pid):
    with open("/proc/uptime") as up, open(f"/proc/{{pid}}/stat") as stat:
        ticks = int(stat.read().rpartition(")")[2].split()[19])
        return time.time() - float(up.read().split()[0]) + ticks / os.sysconf("SC_CLK_TCK")

def snakemakes(job):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{{pid}}/environ", "rb") as own:
                mine = f"SLURM_JOB_ID={{job}}".encode() in own.read().split(b"\\0")
            with open(f"/proc/{{pid}}/cmdline", "rb") as line:
                words = line.read().split(b"\\0")
            if mine and words[1:3] == [b"-m", b"snakemake"]:
                yield begun(pid)
        except OSError:
            pass

job = os.environ.get("SLURM_JOB_ID")
if job is None:
    os.execv({program!r}, [{program!r}, *sys.argv[1:]])
found = sorted(snakemakes(job))
start = time.time()
pid = os.posix_spawn({program!r}, [{program!r}, *sys.argv[1:]], os.environ)
_, status, usage = os.wait4(pid, 0)
cpu = usage.ru_utime + usage.ru_stime
record = os.open({record!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
os.write(record, (json.dumps([int(job), found, start, time.time(), cpu]) + "\\n").encode())
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Stands for ``shoal`` on the PATH."""


@dataclass(frozen=True)
class Phases:
    """Mean seconds of the phases of one way's jobs.

    Attributes:
        start: From Slurm's start of the job to the first process in it.
        snakemakes: Of each Snakemake, from its start to that of the next process.
        command: The command.
        end: From the command's end to Slurm's end of the job.
        cpu: CPU seconds of the job without the command's.
    """

    start: float
    snakemakes: list[float]
    command: float
    end: float
    cpu: float

    @property
    def beyond(self) -> float:
        """Seconds for which a job holds its node beyond its command."""
        return self.start + sum(self.snakemakes) + self.end


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=16)
    options = parser.parse_args()
    if shutil.which("sbatch") is None:
        sys.exit("no sbatch here")
    print(f"command: python -m benchmarks.slurm_overhead {' '.join(sys.argv[1:])}", flush=True)
    print(f"`shoal --version`: {cpu_of(['shoal', '--version']):.2f} CPU s; ", end="")
    print(f"`python -m snakemake --version`: {cpu_of(SNAKEMAKE):.2f} CPU s\n")
    print("| jobs by | start | each Snakemake | end | beyond | of a minute | CPU s beyond |")
    print("| --- | --: | --: | --: | --: | --: | --: |", flush=True)
    with tempfile.TemporaryDirectory(prefix="slurm-overhead-") as name:
        first = Path(name, "first")
        project(first, ROWS)
        write_source(first / "data", ROWS, options.jobs, 0)
        snakemake(first, "--cores", "2", "--until", "split_fit")
        for way, hooks in (("Shoal", []), ("the plugin", ["--no-hooks"])):
            folder = Path(name, way)
            shutil.copytree(first, folder, symlinks=True)
            taken = on_slurm(folder, hooks)
            show(way, taken)
        show("`sbatch`", bare(first, options.jobs))


SNAKEMAKE = [sys.executable, "-m", "snakemake", "--version"]


def cpu_of(command: list[str]) -> float:
    """CPU seconds of a command, the least of three."""
    found = []
    for _ in range(3):
        before = os.times()
        subprocess.run(command, check=True, capture_output=True)
        after = os.times()
        found.append(sum(after[2:4]) - sum(before[2:4]))
    return min(found)


def snakemake(folder: Path, *options: str, path: str = "") -> None:
    """Run the workflow in a folder."""
    environment = {**os.environ, "PATH": f"{path}{os.environ['PATH']}"}
    command = ["snakemake", "--scheduler", "greedy", *options]
    done = subprocess.run(
        [*command, "--config", f"experiment={NAME}"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)


def stand_in(folder: Path) -> Path:
    """A folder with the stand-in; what it notes goes to ``taken.jsonl`` beside that."""
    programs = folder / "programs"
    programs.mkdir()
    record, program = str(folder / "taken.jsonl"), shutil.which("shoal")
    text = STAND_IN.format(python=sys.executable, program=program, record=record)
    (programs / "shoal").write_text(text)
    (programs / "shoal").chmod(0o755)
    return programs


def on_slurm(folder: Path, options: list[str]) -> Phases:
    """Phases of the jobs that split the files, as Snakemake submits them."""
    path = f"{stand_in(folder)}{os.pathsep}"
    profile = str(ROOT / "profiles" / "slurm")
    quick = ["--slurm-init-seconds-before-status-checks", "1", "--jobs", "2"]
    snakemake(folder, "--profile", profile, *quick, *options, "--until", "split", path=path)
    return phases(folder / "taken.jsonl")


def bare(folder: Path, jobs: int) -> Phases:
    """Phases of jobs that are a bare command, ``shoal --version``."""
    program = stand_in(folder) / "shoal"
    for _ in range(jobs):
        wrapped = ["--partition", "cpu", "--mem", "500", "--output", "/dev/null", "--wait"]
        subprocess.run(
            ["sbatch", *wrapped, "--wrap", f"{program} --version"], check=True, capture_output=True
        )
    return phases(folder / "taken.jsonl")


def phases(taken: Path) -> Phases:
    """Means over jobs, from what the stand-in noted and what Slurm's accounting says."""
    time.sleep(3)  # accounting is written behind
    noted = [json.loads(line) for line in taken.read_text().splitlines()]
    starts, ends, commands, cpus = [], [], [], []
    steps: list[list[float]] = []
    for job, snakemakes, begin, end, cpu in noted:
        started, ended, total = accounted(job)
        places = [*snakemakes, begin]
        starts.append(places[0] - started)
        steps.append([after - before for before, after in itertools.pairwise(places)])
        ends.append(ended - end)
        commands.append(end - begin)
        cpus.append(total - cpu)
    mean = statistics.fmean
    each = [mean(step) for step in zip(*steps, strict=True)]
    return Phases(mean(starts), each, mean(commands), mean(ends), mean(cpus))


def accounted(job: int) -> tuple[float, float, float]:
    """When a job started and ended, and its CPU seconds, as Slurm says."""
    text = subprocess.run(
        ["sacct", "-n", "-P", "-j", str(job), "--format=Start,End,TotalCPU"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    start, end, cpu = text.splitlines()[0].split("|")
    began, ended = (time.mktime(time.strptime(at, "%Y-%m-%dT%H:%M:%S")) for at in (start, end))
    days, _, clock = cpu.rpartition("-")
    seconds = 0.0
    for part in clock.split(":"):
        seconds = 60 * seconds + float(part)
    return began, ended, 86_400 * int(days or 0) + seconds


def show(way: str, found: Phases) -> None:
    """Print one row."""
    each = " + ".join(f"{seconds:.2f}" for seconds in found.snakemakes)
    share = found.beyond / (MINUTE + found.beyond)
    print(
        f"| {way} | {found.start:.2f} | {each} | {found.end:.2f} "
        f"| {found.beyond:.2f} | {share:.1%} | {found.cpu:.2f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
