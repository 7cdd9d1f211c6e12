"""What orchestration costs: a plan's wall time and node-seconds beside the computing in it.

    python -m benchmarks.orchestration --jobs 10 --seconds 60
    python -m benchmarks.orchestration --jobs 10 100 1000 --seconds 1 --slurm

Each job sleeps for ``--seconds`` as ``shoal`` jobs compute: a rule of the shape that
Shoal's have (log, benchmark, resources), two at a time. The bare loop is ``sbatch --wait`` where
``--slurm`` is given, else a pool of shells. Printed for each number of jobs:

- wall - critical path: seconds that the run took longer than its computing, two at a time;
- share of node-seconds that is not computing: on Slurm of what sacct says was allocated, here of
  two cores for the whole run;
- the same of a bare loop that runs the same jobs.

The first line says how long ``snakemake --version`` takes, which is its imports: a Slurm job of
the plugin starts Snakemake twice, and a run once more.
"""

from __future__ import annotations

import argparse
import math
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

AT_ONCE = 2
RULES = """\
rule all:
    input: [f"out/{{n}}" for n in range({jobs})]

rule job:
    output: "out/{{n}}"
    log: "log/{{n}}"
    benchmark: "bench/{{n}}.tsv"
    threads: 1
    resources: slurm_partition="gpu", runtime=30, mem_mb=500, gpu=1
    shell: "date +%s.%N > {{output}}; sleep {seconds}; date +%s.%N >> {{output}}"
"""


@dataclass
class Measured:
    """One run of all jobs.

    Attributes:
        wall: Seconds from the command's start to its end.
        busy: Node-seconds that were taken.
        computing: Node-seconds in which jobs computed.
    """

    wall: float
    busy: float
    computing: float

    def row(self, name: str, jobs: int, critical: float) -> str:
        """A line of the table."""
        share = 1 - self.computing / self.busy
        return (
            f"{jobs:6} {name:22} {self.wall:8.1f} {self.wall - critical:8.1f} "
            f"{(self.wall - critical) / jobs:8.2f} {share:8.1%}"
        )


def snakemake(folder: Path, jobs: int, seconds: float, *, slurm: bool) -> Measured:
    """The jobs as a workflow."""
    (folder / "Snakefile").write_text(RULES.format(jobs=jobs, seconds=seconds))
    profile = Path(__file__).parents[1] / "profiles" / ("slurm" if slurm else "local")
    limits = ["--jobs", str(AT_ONCE)] if slurm else ["--cores", str(AT_ONCE)]
    since = time.strftime("%Y-%m-%dT%H:%M:%S")
    start = time.perf_counter()
    subprocess.run(
        ["snakemake", "--profile", str(profile), *limits, "--quiet", "all"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    wall = time.perf_counter() - start
    computing = _computing(folder, jobs)
    busy = _allocated(since) if slurm else wall * AT_ONCE
    return Measured(wall, busy, computing)


def bare(folder: Path, jobs: int, seconds: float, *, slurm: bool) -> Measured:
    """The jobs in a loop of ``sbatch --wait``, or of shells."""
    (folder / "out").mkdir()
    work = "date +%s.%N > out/{n}; sleep {seconds}; date +%s.%N >> out/{n}"
    since = time.strftime("%Y-%m-%dT%H:%M:%S")

    def one(n: int) -> None:
        text = work.format(n=n, seconds=seconds)
        command = ["sh", "-c", text]
        if slurm:
            wrapped = ["--partition", "gpu", "--gpus", "1", "--mem", "500", "--output", "/dev/null"]
            command = ["sbatch", "--wait", *wrapped, "--wrap", text]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)

    start = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, range(jobs)))
    wall = time.perf_counter() - start
    busy = _allocated(since) if slurm else wall * AT_ONCE
    return Measured(wall, busy, _computing(folder, jobs))


def _computing(folder: Path, jobs: int) -> float:
    total = 0.0
    for n in range(jobs):
        begin, end = (float(line) for line in (folder / "out" / str(n)).read_text().split())
        total += end - begin
    return total


def _allocated(since: str) -> float:
    """Seconds that Slurm's jobs held their nodes, in units of a second."""
    time.sleep(3)  # accounting is written behind
    text = subprocess.run(
        ["sacct", "-n", "-P", "-X", "-S", since, "--format=ElapsedRaw"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return float(sum(int(line) for line in text.split()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, nargs="+", default=[10])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--slurm", action="store_true")
    options = parser.parse_args()
    if options.slurm and shutil.which("sbatch") is None:
        sys.exit("no sbatch here")
    start = time.perf_counter()
    subprocess.run(["snakemake", "--version"], check=True, capture_output=True)
    print(f"snakemake --version: {time.perf_counter() - start:.2f} s")
    print("  jobs how                      wall s   over s  a job s  not computing")
    for jobs in options.jobs:
        critical = math.ceil(jobs / AT_ONCE) * options.seconds
        for name, measure in (("snakemake", snakemake), ("bare loop", bare)):
            with tempfile.TemporaryDirectory() as folder:
                found = measure(Path(folder), jobs, options.seconds, slurm=options.slurm)
                print(found.row(name, jobs, critical), flush=True)


if __name__ == "__main__":
    main()
