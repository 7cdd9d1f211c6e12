"""How long planning takes at scale: 1,000 shards, 64 partitions, 4 grid points, 10⁷ rows.

    python -m benchmarks.plan_scale --plot docs/img/plan_scale.svg

Lays out finished experiments with generated summaries (no stage runs) and measures the merge of
the summaries, ``snakemake -n`` and ``shoal plan``, with nothing to do and with one shard changed
such that every partition lost one training row and got another. Every measurement is repeated;
machines are noisy, so each is also given as a multiple of ``snakemake --version`` in the same run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import scale_experiment
from benchmarks.scale_experiment import Scale
from benchmarks.scale_plot import line_plot
from shoal.formats.files import replacing
from shoal.formats.json_file import read_json
from shoal.partitions.index import merge_summaries
from shoal.plan.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

POINTS = 4
REFERENCE = "snakemake --version"
AIMS = {
    "shoal partition": 2.0,
    "snakemake -n, nothing to do": 5.0,
    "shoal plan, nothing to do": 10.0,
    "shoal plan, one shard changed": 10.0,
}
PLOTTED = (
    "shoal partition",
    "snakemake -n, nothing to do",
    "snakemake -n, one shard changed",
    "shoal plan, nothing to do",
    "shoal plan, one shard changed",
)
DRY_RUN = ["snakemake", "-n", "--config", "experiment=scale"]
PLAN = ["shoal", "plan", "scale"]
PLAN_JSON = [*PLAN, "--json"]
WATCHED = """
import json, os, pathlib, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
seconds = time.perf_counter() - start
content = [seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024]
pathlib.Path(sys.argv[1]).write_text(json.dumps(content))
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Starts a command from a small process: its peak of memory includes that of its parent."""


@dataclass(frozen=True)
class Run:
    """What a command took.

    Attributes:
        seconds: Wall-clock time.
        cpu: User and system time.
        mib: Peak memory.
    """

    seconds: float
    cpu: float
    mib: float


class Stopwatch:
    """Runs commands in one folder and keeps what they took.

    Attributes:
        runs: By name, one for each repeat.
    """

    def __init__(self, folder: Path) -> None:
        """Take the folder."""
        self.folder = folder
        self.runs: dict[str, list[Run]] = defaultdict(list)

    def command(self, name: str, command: Sequence[str]) -> str:
        """Run a command to its end; its output."""
        with tempfile.NamedTemporaryFile("r") as record:
            watched = [sys.executable, "-c", WATCHED, record.name, *command]
            result = subprocess.run(
                watched, cwd=self.folder, capture_output=True, text=True, check=False
            )
            if result.returncode:
                sys.exit(f"{name}: {result.stdout}{result.stderr}")
            self.runs[name].append(Run(*json.load(record)))
        return result.stdout + result.stderr

    def call(self, name: str, function: Callable[[], object]) -> None:
        """Call a function in this process; peak memory is the process's."""
        start, cpu = time.perf_counter(), time.process_time()
        function()
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self.runs[name].append(Run(seconds, cpu, peak))


def measure(folder: Path, scale: Scale, repeats: int, seed: int) -> tuple[int, Stopwatch]:
    """Lay out an experiment and measure everything; its number of jobs, and what was measured."""
    jobs = scale_experiment.complete(folder, scale, seed)
    watch = Stopwatch(folder)
    for _ in range(repeats):
        watch.command("python -c pass", ["python", "-c", "pass"])
        watch.command(REFERENCE, REFERENCE.split())
        with contextlib.chdir(folder):
            plan = Plan("scale", [], Path("config"))
            watch.call("reading and merging in this process", partial(_merge, plan, scale))
            watch.command("shoal partition", _partition(plan))
        _expect("Nothing to be done", watch.command("snakemake -n, nothing to do", DRY_RUN))
        watch.command("shoal plan, nothing to do", PLAN)
        document = json.loads(watch.command("shoal plan --json, nothing to do", PLAN_JSON))
        _expect_plan(document, jobs=0, changed=0)
        scale_experiment.edit(folder)
        text = watch.command("snakemake -n, one shard changed", DRY_RUN)
        _expect("the partition index is out of date", text)
        scale_experiment.apply_edit(folder, scale, seed)
        watch.command("snakemake -n, its index merged", DRY_RUN)
        watch.command("shoal plan, one shard changed", PLAN)
        document = json.loads(watch.command("shoal plan --json, one shard changed", PLAN_JSON))
        _expect_plan(document, jobs=scale.partitions * POINTS, changed=scale.partitions)
        scale_experiment.restore(folder)
    return jobs, watch


def _merge(plan: Plan, scale: Scale) -> None:
    layout = plan.layout
    contents = (read_json(path, dict[str, Any]) for path in layout.files("assign.summary"))
    merge_summaries(contents, scale.partitions, plan.settings.cluster.min_rows, "lineage")


def _partition(plan: Plan) -> list[str]:
    """The command of rule ``partition``, which writes the same index again."""
    return ["shoal", "partition", "--settings", str(plan.run_file)]


def _expect(words: str, text: str) -> None:
    if words not in text:
        sys.exit(f"a plan does not say {words!r} but\n{text}")


def _expect_plan(document: dict[str, list[dict[str, object]]], jobs: int, changed: int) -> None:
    """What was measured is a plan of the right jobs, with rows counted."""
    trained = [job for job in document["jobs"] if job["rule"] == "train_specialist"]
    states = [part for part in document["partitions"] if part["changes"] == {"train": [1, 1]}]
    if (len(trained), len(states)) != (jobs, changed):
        sys.exit(f"shoal plan: {len(trained)} training jobs, {len(states)} changed partitions")


def table(scale: Scale, jobs: int, watch: Stopwatch) -> None:
    """Print the measurements of one size."""
    print(
        f"\n{scale.shards:,} shards, {scale.partitions} partitions, {POINTS} grid points, "
        f"{scale.rows:.0e} rows: {jobs:,} jobs\n"
    )
    print(f"| measured | seconds, median | range | CPU | peak MiB | times {REFERENCE} | aim |")
    print("| --- | --: | --: | --: | --: | --: | --: |")
    reference = _median(watch.runs[REFERENCE])
    for name, runs in watch.runs.items():
        seconds = [run.seconds for run in runs]
        cpu, mib = (statistics.median(values) for values in _columns(runs))
        aim = f"≤ {AIMS[name]:.0f}" if name in AIMS else ""
        print(
            f"| {name} | {_median(runs):.2f} | {min(seconds):.2f} to {max(seconds):.2f}"
            f" | {cpu:.2f} | {mib:.0f} | {_median(runs) / reference:.2f} | {aim} |"
        )


def _columns(runs: Sequence[Run]) -> tuple[list[float], list[float]]:
    return [run.cpu for run in runs], [run.mib for run in runs]


def _median(runs: Sequence[Run]) -> float:
    return statistics.median(run.seconds for run in runs)


def plot(path: Path, found: dict[Scale, Stopwatch]) -> None:
    """Draw how the medians grow with shards, a line for each measurement and partitions."""
    most = max(scale.partitions for scale in found)
    lines: dict[tuple[str, bool], list[tuple[float, float]]] = defaultdict(list)
    for scale, watch in found.items():
        for name in PLOTTED:
            place = (float(scale.shards), _median(watch.runs[name]))
            lines[name, scale.partitions == most].append(place)
    fewest = min(scale.partitions for scale in found)
    title = f"Solid: {most} partitions. Dashed: {fewest}."
    with replacing(path) as aside:
        aside.write_text(line_plot(title, "shards", "seconds", lines))


def main() -> None:
    """Measure every size and print a table for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, nargs="+", default=[100, 300, 1000])
    parser.add_argument("--partitions", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--rows", type=int, default=10_000, help="rows of a shard")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", type=Path, help="SVG file to write")
    arguments = parser.parse_args()
    found = {}
    for shards in arguments.shards:
        for partitions in arguments.partitions:
            scale = Scale(shards, partitions, shards * arguments.rows)
            with tempfile.TemporaryDirectory(prefix="plan-scale-") as name:
                folder = Path(name, "experiment")
                jobs, found[scale] = measure(folder, scale, arguments.repeats, arguments.seed)
            table(scale, jobs, found[scale])
    if arguments.plot:
        plot(arguments.plot, found)


if __name__ == "__main__":
    main()
