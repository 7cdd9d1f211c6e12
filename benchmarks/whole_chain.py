"""The whole chain, from source files to the report, on tables of growing size.

    python -m benchmarks.whole_chain --rows 100000 1000000 10000000 --plot docs/img/whole_chain.svg

Makes a table of 24 columns (16 numbers, 7 categories, a label) and ids, in CSV files of equal
length, in a project folder of its own, and runs ``snakemake --profile profiles/local`` there. Every
``shoal`` process reports what it took: CPU seconds of all its threads, and the most memory
that it or a process of its own held. Snakemake's own share is what is left of the run's.

Printed: CPU seconds and peak memory of each command, for each size; the cost a + b n that fits them
best by relative error, with the largest relative residual; disk by stage, beside the source; and
the same at ``--extrapolate`` rows with the plan of such a run on Slurm, as ``shoal plan`` makes it
from past jobs that take what the fit says. Base and specialists together see each row once.

``--record FILE`` keeps what was measured; sizes that it has are not run again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc

from benchmarks.scale_plot import line_plot
from shoal.formats.documents.ledger import LedgerRecord
from shoal.formats.files import replacing
from shoal.formats.json_file import read_made, write_json
from shoal.operate.resources import Resources
from shoal.plan.paths import glob, parse
from shoal.plan.plan import Plan
from shoal.plan.stages import PACKS, STAGES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[1]
NAME = "chain"
NUMBERS, CATEGORIES, LEVELS, HOMES = 16, 7, 10, 16
SETTINGS = """\
# @package _global_
name: {name}
sources:
  folder: data
  files: ["*.csv"]
  columns: {{id: id, label: label}}
train_specialists: {{rows_seen: {rows}}}
"""
NODES = """\
packing: {devices: null}
nodes:
  classes:
    cpu:
      {partition: standard, cores: 64, memory_mb: 250000, minutes: 2880, gpus: 0, gpu_model: null,
       gpu_memory_mb: 0, cost: 1}
  needs: {light: cpu, cores: cpu, gpu: cpu, large: cpu}
"""
"""Nodes of the plan: models this small train on CPUs, each in a job of its own."""
PARTITIONS = 8
"""Those of the default settings."""
_RULES = {"pool_build": "pool"}
"""Rules that are not called like their command."""
_LONG = ("digest", "validation", "rows", "root", "basis", "link")
"""Wildcards that are digests of rows."""
STAND_IN = """\
#!{python} -IS
import json, os, sys, time
start = time.perf_counter()
pid = os.posix_spawn({program!r}, [{program!r}, *sys.argv[1:]], os.environ)
_, status, usage = os.wait4(pid, 0)
cpu, peak = usage.ru_utime + usage.ru_stime, 1024 * usage.ru_maxrss
took = [sys.argv[1], time.perf_counter() - start, cpu, peak]
record = os.open({record!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
os.write(record, (json.dumps(took) + "\\n").encode())
code = os.waitstatus_to_exitcode(status)
sys.exit(code if code >= 0 else 128 - code)
"""
"""Stands for ``shoal`` on the PATH: a small process, whose peak of memory is not the child's."""


@dataclass(frozen=True)
class Process:
    """What a process took.

    Attributes:
        command: Shoal's command.
        seconds: Wall-clock time.
        cpu: CPU seconds of all threads.
        peak: Most memory that it held, bytes.
    """

    command: str
    seconds: float
    cpu: float
    peak: float


@dataclass(frozen=True)
class Run:
    """A run of the whole chain.

    Attributes:
        rows: Rows of all files.
        shards: Files.
        source: Their bytes.
        seconds: Wall-clock time.
        cpu: CPU seconds of Snakemake itself.
        peak: Most memory that Snakemake held, bytes.
        processes: Every process of Shoal's.
        disk: Bytes of the results, by folder.
        ledgers: By stage, mean numbers of its jobs' ledgers, those of details by ``detail/KEY``.
    """

    rows: int
    shards: int
    source: int
    seconds: float
    cpu: float
    peak: float
    processes: list[Process]
    disk: dict[str, int]
    ledgers: dict[str, dict[str, float]]

    def by_command(self) -> dict[str, list[Process]]:
        """Its processes, by command in the order of stages."""
        found: dict[str, list[Process]] = {name: [] for name in STAGES}
        for each in self.processes:
            name = each.command.replace("-", "_")
            found.setdefault(_RULES.get(name, name), []).append(each)
        return {name: each for name, each in found.items() if each}


@dataclass(frozen=True)
class Line:
    """A cost ``start + a_row * rows``.

    Attributes:
        start: What no row costs.
        a_row: What a row costs.
        residual: The largest relative residual.
    """

    start: float
    a_row: float
    residual: float

    def at(self, rows: int) -> float:
        """The cost of so many rows."""
        return self.start + self.a_row * rows


class Past(NamedTuple):
    """What a job takes.

    Attributes:
        seconds: CPU seconds.
        start: Those of them that no row costs.
        peak: Most memory that it holds, bytes.
    """

    seconds: float
    start: float
    peak: float


def fit(rows: Sequence[int], costs: Sequence[float]) -> Line:
    """The line that fits by relative error; neither part is below zero."""
    from scipy.optimize import nnls

    n, cost = np.asarray(rows, float), np.asarray(costs, float)
    scale = np.array([1.0, n.max()])
    design = np.stack([np.ones_like(n), n], axis=1) / scale
    (start, a_row), _ = nnls(design / cost[:, None], np.ones_like(n))
    found = start + a_row * n / n.max()
    residual = float(np.abs(found / cost - 1).max())
    return Line(float(start), float(a_row / n.max()), residual)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--shard-rows", type=int, default=200_000)
    parser.add_argument("--extrapolate", type=int, default=100_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where data and results go; kept")
    parser.add_argument("--record", type=Path, help="JSON file of what was measured")
    parser.add_argument("--plot", type=Path, help="SVG file to write")
    options = parser.parse_args()
    print(f"command: python -m benchmarks.whole_chain {' '.join(sys.argv[1:])}", flush=True)
    record: Path | None = options.record
    runs = load(record) if record and record.exists() else {}
    for rows in options.rows:
        if rows in runs:
            continue
        parent = options.folder or Path(tempfile.mkdtemp(prefix="whole-chain-"))
        try:
            runs[rows] = measure(parent / str(rows), rows, options.shard_rows, options.seed)
        finally:
            if options.folder is None:
                shutil.rmtree(parent)
        if record:
            save(record, runs)
    found = [runs[rows] for rows in sorted(options.rows)]
    table(found)
    disk_table(found)
    if len(found) > 1:
        extrapolate(found, options.extrapolate, options.shard_rows)
    if options.plot:
        plot(options.plot, found)


def save(path: Path, runs: Mapping[int, Run]) -> None:
    """Keep what was measured."""
    with replacing(path) as aside:
        aside.write_text(json.dumps([asdict(run) for run in runs.values()]))


def load(path: Path) -> dict[int, Run]:
    """What :func:`save` kept."""
    found = {}
    for each in json.loads(path.read_text()):
        processes = [Process(**process) for process in each.pop("processes")]
        found[each["rows"]] = Run(processes=processes, **each)
    return found


def measure(folder: Path, rows: int, shard_rows: int, seed: int) -> Run:
    """Make a project with so many rows, and run it to its end.

    Args:
        folder: Where it goes.
        rows: Rows of all files.
        shard_rows: Rows of a file.
        seed: Seed of the table.
    """
    project(folder, rows)
    shards = max(1, rows // shard_rows)
    write_source(folder / "data", rows, shards, seed)
    source = sum(path.stat().st_size for path in (folder / "data").iterdir())
    taken, programs = folder / "taken.jsonl", folder / "programs"
    programs.mkdir()
    shoal = shutil.which("shoal")
    stand_in = STAND_IN.format(python=sys.executable, program=shoal, record=str(taken))
    (programs / "shoal").write_text(stand_in)
    (programs / "shoal").chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    command = ["snakemake", "--profile", str(ROOT / "profiles" / "local"), "--cores", "2"]
    start = time.perf_counter()
    with (folder / "run.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--config", f"experiment={NAME}"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    held = Held(process.pid)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if process.returncode:
        sys.exit((folder / "run.log").read_text())
    processes = [Process(*json.loads(line)) for line in taken.read_text().splitlines()]
    own = usage.ru_utime + usage.ru_stime - sum(each.cpu for each in processes)
    results = folder / "results" / NAME
    disk, ledgers = stored(results), costs_counted(results)
    return Run(rows, shards, source, seconds, own, held.end(), processes, disk, ledgers)


class Held:
    """Most memory that a running process has held, looked at four times a second."""

    def __init__(self, pid: int) -> None:
        """Begin to look."""
        self._status = Path(f"/proc/{pid}/status")
        self._peak = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._ended.wait(0.25):
            try:
                found = re.search(r"VmHWM:\s+(\d+)", self._status.read_text())
            except (FileNotFoundError, ProcessLookupError):
                return
            if found:
                self._peak = max(self._peak, 1024.0 * int(found[1]))

    def end(self) -> float:
        """Look no more; the most that was seen, bytes."""
        self._ended.set()
        self._thread.join()
        return self._peak


def project(folder: Path, rows: int, nodes: str = "") -> None:
    """A folder in which the literal ``snakemake`` command runs the experiment.

    Args:
        folder: Where it goes.
        rows: Rows that base and specialists see.
        nodes: Settings of nodes.
    """
    (folder / "data").mkdir(parents=True)
    for name in ("Snakefile", "workflow", "envs", "profiles", "examples"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "config" / "experiment").mkdir(parents=True)
    for path in (ROOT / "config").iterdir():
        if path.name != "experiment":
            (folder / "config" / path.name).symlink_to(path)
    experiment = folder / "config" / "experiment" / f"{NAME}.yaml"
    experiment.write_text(SETTINGS.format(name=NAME, rows=rows) + nodes)


def write_source(folder: Path, rows: int, shards: int, seed: int) -> None:
    """The table: rows lie around homes, each of which has labels of its own."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(HOMES, NUMBERS)) * 3
    weights = rng.normal(size=(HOMES, NUMBERS))
    names = np.array([f"value {level}" for level in range(LEVELS)], dtype=object)
    for shard in range(shards):
        count = rows // shards
        home = rng.integers(HOMES, size=count)
        away = rng.normal(size=(count, NUMBERS))
        numbers = centres[home] + away
        levels = (home[:, None] + rng.integers(5, size=(count, CATEGORIES))) % LEVELS
        columns: dict[str, object] = {"id": [f"r{shard}-{row}" for row in range(count)]}
        columns |= {f"n{place}": numbers[:, place] for place in range(NUMBERS)}
        columns |= {f"c{place}": names[levels[:, place]] for place in range(CATEGORIES)}
        columns["label"] = np.where((away * weights[home]).sum(axis=1) > 0, "yes", "no")
        pc.write_csv(pa.table(columns), folder / f"part-{shard:05d}.csv")


def stored(results: Path) -> dict[str, int]:
    """Bytes of the results by the folder of their stage; a file with several names counts once."""
    found: dict[str, int] = defaultdict(int)
    seen = set()
    for place, _, names in os.walk(results):
        inside = Path(place).relative_to(results).parts
        stage = inside[1] if len(inside) > 1 and inside[0].startswith("g") else "/".join(inside[:1])
        for name in names:
            stat = Path(place, name).lstat()
            if stat.st_ino not in seen:
                seen.add(stat.st_ino)
                found[stage] += stat.st_size
    return dict(found)


def costs_counted(results: Path) -> dict[str, dict[str, float]]:
    """Mean numbers of the ledgers of each stage's jobs."""
    found: dict[str, dict[str, float]] = {}
    for name, stage in STAGES.items():
        if stage.ledger not in stage.outputs:
            continue
        ledgers = [
            read_made(path, LedgerRecord) for path in results.glob(glob(stage, stage.ledger))
        ]
        if ledgers:
            found[name] = _mean_numbers(ledgers)
    return found


def _mean_numbers(ledgers: Sequence[LedgerRecord]) -> dict[str, float]:
    numbers = [
        {
            "flops": ledger["flops"],
            "seconds": ledger["seconds"],
            "rows_seen": float(ledger["rows_seen"]),
            "rows_read": float(ledger["rows_read"]),
            **{f"detail/{key}": value for key, value in ledger.get("detail", {}).items()},
        }
        for ledger in ledgers
    ]
    return {key: fmean(each.get(key, 0.0) for each in numbers) for key in numbers[0]}


# What was found ---------------------------------------------------------------------------------


def costs(runs: Sequence[Run]) -> dict[str, list[float]]:
    """CPU seconds of each command, of Snakemake itself and of all, for each run."""
    each = [run.by_command() for run in runs]
    names = [name for name in each[-1] if all(name in found for found in each)]
    found = {name: [sum(p.cpu for p in part[name]) for part in each] for name in names}
    found["Snakemake"] = [run.cpu for run in runs]
    found["all"] = [run.cpu + sum(p.cpu for p in run.processes) for run in runs]
    return found


def peaks(runs: Sequence[Run]) -> dict[str, list[float]]:
    """Most memory that a process of each command held, and Snakemake, for each run; bytes."""
    each = [run.by_command() for run in runs]
    names = [name for name in each[-1] if all(name in found for found in each)]
    found = {name: [max(p.peak for p in part[name]) for part in each] for name in names}
    found["Snakemake"] = [run.peak for run in runs]
    found["all"] = [max(run.peak, *(p.peak for p in run.processes)) for run in runs]
    return found


def table(runs: Sequence[Run]) -> None:
    """Print cost and memory of each command."""
    rows, held = [run.rows for run in runs], peaks(runs)
    for run in runs:
        print(
            f"{run.rows:,} rows, {run.shards} CSV files, {run.source / 1e6:,.0f} MB: "
            f"{run.seconds:,.0f} s, {len(run.processes)} processes"
        )
    sizes = " | ".join(f"{count:.0e}" for count in rows)
    print(f"\n| command | CPU s: {sizes} | a, s | b, µs per row | residual | peak MB: {sizes} |")
    print(f"| --- |{' --: |' * (2 * len(rows) + 3)}")
    for name, cost in costs(runs).items():
        line = fit(rows, cost)
        taken = " | ".join(f"{value:,.1f}" for value in cost)
        memory = " | ".join(f"{value / 1e6:,.0f}" for value in held[name])
        print(
            f"| `{name}` | {taken} | {line.start:.1f} | {1e6 * line.a_row:.2f} "
            f"| {line.residual:.0%} | {memory} |",
            flush=True,
        )


def disk_table(runs: Sequence[Run]) -> None:
    """Print what lies on disk, over the source."""
    print(f"\n| on disk, × the source | {' | '.join(f'{run.rows:.0e}' for run in runs)} |")
    print(f"| --- |{' --: |' * len(runs)}")
    names = sorted(runs[-1].disk, key=lambda name: -runs[-1].disk[name])
    for name in names:
        parts = [run.disk.get(name, 0) / run.source for run in runs]
        if max(parts) >= 0.005:
            print(f"| `{name}` | {' | '.join(f'{part:.2f}' for part in parts)} |")
    print(f"| all | {' | '.join(f'{sum(r.disk.values()) / r.source:.2f}' for r in runs)} |")


def extrapolate(runs: Sequence[Run], rows: int, shard_rows: int) -> None:
    """Print what so many rows would take, and the plan of such a run on Slurm."""
    sizes, held, shards = [run.rows for run in runs], peaks(runs), rows // shard_rows
    counts = {name: len(each) for name, each in runs[-1].by_command().items()}
    jobs = {name: _jobs(name, count, shards) for name, count in counts.items()}
    jobs |= {"Snakemake": 1, "all": sum(jobs.values())}
    past: dict[str, Past] = {}
    print(f"\nat {rows:.0e} rows, {shards} files, by the fits:\n")
    print("| command | processes | CPU s | of a process | peak MB |")
    print("| --- | --: | --: | --: | --: |")
    for name, cost in costs(runs).items():
        line, peak = fit(sizes, cost), _peak(name, sizes, held[name], rows)
        total = line.at(rows)
        past[name] = Past(total / jobs[name], line.start / jobs[name], peak)
        alone = f"{total / jobs[name]:,.1f}" if name in STAGES else ""
        print(f"| `{name}` | {jobs[name]:,} | {total:,.0f} | {alone} | {peak / 1e6:,.0f} |")
    for stage in PACKS:
        if stage.name in past:
            each = past.pop(stage.name)
            parts = (jobs[stage.name] * value / PARTITIONS for value in (each.seconds, each.start))
            past[stage.in_turn or "train_specialist"] = Past(*parts, each.peak)
    longest = sum(each.seconds for name, each in past.items() if name in STAGES)
    print(f"\none job of every stage, one after the other: {longest / 3600:.1f} h")
    ledgers = {
        name: {key: round(_line(runs, name, key).at(rows)) for key in numbers}
        for name, numbers in runs[-1].ledgers.items()
    }
    with tempfile.TemporaryDirectory(prefix="whole-chain-plan-") as folder:
        plan(Path(folder, "project"), rows, shards, past, ledgers)


def _peak(command: str, sizes: Sequence[int], held: Sequence[float], rows: int) -> float:
    """Memory of a process at so many rows: that of a shard, else with the last two sizes' slope."""
    stage = STAGES.get(command)
    if stage is not None and stage.per == "shard":
        return held[-1]
    slope = max(0.0, held[-1] - held[-2]) / (sizes[-1] - sizes[-2])
    return held[-1] + slope * (rows - sizes[-1])


def _jobs(command: str, counted: int, shards: int) -> int:
    stage = STAGES.get(command)
    return shards if stage is not None and stage.per == "shard" else counted


def _line(runs: Sequence[Run], stage: str, key: str) -> Line:
    """A number of a stage's ledger over rows."""
    values = [run.ledgers[stage].get(key, 0.0) for run in runs]
    return fit([run.rows for run in runs], values) if all(values) else Line(values[-1], 0.0, 0.0)


def plan(
    folder: Path,
    rows: int,
    shards: int,
    past: Mapping[str, Past],
    ledgers: Mapping[str, Mapping[str, int]],
) -> None:
    """Print what ``shoal plan`` says of a new project with such past jobs, and what jobs ask for.

    Args:
        folder: Where it goes.
        rows: Rows of all files; the files themselves are stand-ins.
        shards: Files.
        past: By command, what a job takes.
        ledgers: By stage, numbers of a job's ledger, those of its details by ``detail/KEY``.
    """
    project(folder, rows, NODES)
    for shard in range(shards):
        (folder / "data" / f"part-{shard:05d}.csv").write_text(f"id,n0,label\n{shard},0,yes\n")
    results = folder / "results" / NAME
    for rule, each in past.items():
        if rule in STAGES:
            _write_past(results, rule, each, ledgers.get(rule))
    said = subprocess.run(
        ["shoal", "plan", NAME], cwd=folder, check=True, capture_output=True, text=True
    )
    print(f"\n`shoal plan {NAME}`:\n\n{said.stdout}")
    with contextlib.chdir(folder):
        _show_asked(Plan(NAME, [], Path("config")), past)


def _write_past(results: Path, rule: str, past: Past, ledger: Mapping[str, int] | None) -> None:
    """What a job of a rule leaves behind, in a generation before the first."""
    stage = STAGES[rule]
    wildcards = dict.fromkeys(_LONG, "0" * 24) | {"step": "0", "slot": "1" * 10}
    path = results / glob(stage, stage.ledger if ledger else next(iter(stage.outputs)), **wildcards)
    path = Path(str(path).replace("g*", "g0").replace("*", "0" * 10))
    place = parse(path)
    benchmark = results / "benchmarks" / (place.benchmark if place else f"g0/{rule}/past.tsv")
    benchmark.parent.mkdir(parents=True, exist_ok=True)
    benchmark.write_text(f"s\tmax_rss\n{past.seconds:.2f}\t{past.peak / 2**20:.1f}\n")
    if ledger:
        path.parent.mkdir(parents=True, exist_ok=True)
        own = {key: value for key, value in ledger.items() if "/" not in key}
        detail = {key.partition("/")[2]: value for key, value in ledger.items() if "/" in key}
        own["flops"] = max(own["flops"], sum(detail.values()))
        own["peak_memory_bytes"], own["peak_gpu_memory_bytes"] = round(past.peak), 0
        seconds = past.seconds - past.start
        write_json(path, {"job": rule, **own, "seconds": seconds, "detail": detail})


def _show_asked(planned: Plan, past: Mapping[str, Past]) -> None:
    """Print what the jobs ask of Slurm."""
    resources = Resources(planned)
    print("| rule | class of node | minutes | memory, MB |")
    print("| --- | --- | --: | --: |")
    for rule in past:
        need = STAGES[rule].need if rule in STAGES else None
        if need is None or STAGES[rule].per in ("slot", "pack"):
            continue  # what these ask for follows from the partitions' rows
        asked = resources.of(rule, need(planned.settings) if callable(need) else need)
        minutes, memory = asked["runtime"](None, 1), asked["mem_mb"](None, 1)
        print(f"| `{rule}` | {asked['node_class']} | {minutes} | {memory:,} |")


def plot(path: Path, runs: Sequence[Run]) -> None:
    """Draw CPU seconds over rows, of the costliest commands and of all, with the fitted lines."""
    found = costs(runs)
    most = sorted(found, key=lambda name: -found[name][-1])[:8]
    lines: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    for name in most:
        line = fit([run.rows for run in runs], found[name])
        lines[name, True] = [
            (float(run.rows), cost) for run, cost in zip(runs, found[name], strict=True)
        ]
        lines[name, False] = [(float(run.rows), line.at(run.rows)) for run in runs]
    title = "Solid: measured. Dashed: a + b n, fitted."
    with replacing(path) as aside:
        aside.write_text(line_plot(title, "rows", "CPU seconds", lines))


if __name__ == "__main__":
    main()
