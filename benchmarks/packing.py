"""What packing gains: the packer against the optimum, and 64 small specialists packed or not.

    python -m benchmarks.packing
    python -m benchmarks.packing --profile slurm
    python -m benchmarks.packing --run results/NAME/settings/HASH.json

First random small instances against an exact search, and the time for 1,000 members. Then an
experiment with a partition for each of 64 values of a column: its specialists of about 10,000
parameters are trained twice, packed onto four devices and with a process each. Without
``--profile`` by plain commands, so many at a time as ``--workers`` says; with it by Snakemake,
which does the same with jobs. The two are then compared byte for byte.

With ``--run`` the decisions and answers of a finished run are made again, each in a process of its
own and all in one, from the folder that the run was started in.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from shoal.cli import command_of
from shoal.formats.documents.index import PartitionIndex
from shoal.formats.fitted_state import load_state
from shoal.formats.hashing import settings_id
from shoal.formats.json_file import read_json, write_json
from shoal.operate.estimate import Estimate
from shoal.operate.pack_solver import Limits, Member, longest_first, makespan, pack
from shoal.operate.packs import TRAINS, begin_packs, outputs_of, planned_packs
from shoal.plan.paths import jobs_of, outputs
from shoal.plan.plan import Plan
from shoal.plan.run_file import RunFile
from shoal.plan.stages import PACKS, STAGES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[1]
INSTANCES = 200
MANY = 1000
SETTINGS = """\
# @package _global_
defaults:
  - override /cluster: column
name: packing
sources:
  folder: data
  files: ["*.csv"]
  columns: {{part: categorical, label: label}}
cluster: {{column: part, max_partitions: {count}, min_rows: 10}}
model: {{width: 69}}
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--specialists", type=int, default=64)
    parser.add_argument("--devices", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2, help="plain commands at a time")
    parser.add_argument("--profile", help="a Snakemake profile that runs the jobs instead")
    parser.add_argument("--only", choices=["solver", "trainings"])
    parser.add_argument("--folder", type=Path, help="where the experiment goes; kept")
    parser.add_argument("--run", type=Path, help="settings file of a finished run, and no more")
    options = parser.parse_args()
    print(f"command: python -m benchmarks.packing {' '.join(sys.argv[1:])}; seed {options.seed}")
    if options.run:
        measure_in_turn(RunFile(options.run))
        return
    if options.only != "trainings":
        measure_solver(random.Random(options.seed))  # noqa: S311 - no secrets here
    if options.only != "solver":
        with contextlib.ExitStack() as stack:
            folder = options.folder or stack.enter_context(tempfile.TemporaryDirectory())
            measure_trainings(Path(folder).resolve(), options)


def measure_solver(rng: random.Random) -> None:
    """Gaps to the optimum of small instances, and seconds of large ones."""
    greedy_gaps, gaps, seconds = [], [], []
    for _ in range(INSTANCES):
        members, devices = _drawn(rng, rng.randint(2, 13)), rng.randint(1, 4)
        start = time.perf_counter()
        loads = [0.0] * devices
        for each in pack(members, Limits(devices)):
            loads[each.device] += each.seconds
        seconds.append(time.perf_counter() - start)
        best = optimum(members, devices)
        gaps.append(max(loads) / best - 1)
        greedy_gaps.append(makespan(longest_first(members, devices)) / best - 1)
    for name, values in (("packer", gaps), ("longest first alone", greedy_gaps)):
        mean, largest = 100 * sum(values) / INSTANCES, 100 * max(values)
        print(f"{name}: {mean:.2f} % above the optimum, at most {largest:.2f} %")
    print(f"  {INSTANCES} instances of at most 13 members and 4 devices, {max(seconds):.2f} s each")
    for devices in (4, 64, 400):
        members = _drawn(rng, MANY)
        longest = 3 * max(member.seconds for member in members)
        start = time.perf_counter()
        packs = pack(members, Limits(devices, seconds=longest))
        took = time.perf_counter() - start
        print(f"{MANY} members on {devices} devices: {took:.3f} s, {len(packs)} packs")


def optimum(members: Sequence[Member], devices: int) -> float:
    """The earliest that the last device can be done, by trying all assignments."""
    seconds = sorted((member.seconds for member in members), reverse=True)
    best = math.inf

    def place(number: int, loads: tuple[float, ...]) -> None:
        nonlocal best
        if max(loads) >= best:
            return
        if number == len(seconds):
            best = max(loads)
            return
        for load in sorted(set(loads)):
            device = loads.index(load)
            place(number + 1, (*loads[:device], load + seconds[number], *loads[device + 1 :]))

    place(0, (0.0,) * devices)
    return best


def _drawn(rng: random.Random, count: int) -> list[Member]:
    kind = rng.choice(["uniform", "heavy", "few values"])
    draws = {
        "uniform": lambda: rng.uniform(1, 10),
        "heavy": lambda: rng.lognormvariate(0, 1),
        "few values": lambda: float(rng.randint(1, 6)),
    }
    return [Member(f"m{number}", draws[kind]()) for number in range(count)]


def measure_trainings(folder: Path, options: argparse.Namespace) -> None:
    """Wall time of the same specialists packed and alone, and whether their bits agree."""
    lay_out(folder / "alone", options.specialists, options.seed)
    with contextlib.chdir(folder / "alone"):
        plan = Plan("packing", [], Path("config"))
        base = plan.layout.file("base_fit.base")
        _snakemake([str(plan.layout.index), str(base)], [], None)
        parameters = sum(tensor.size for tensor in load_state(base)[0].values())
    shutil.copytree(folder / "alone", folder / "packed", symlinks=True)
    print(f"{options.specialists} specialists of {parameters} parameters")
    ways = {"packed": [f"packing.devices={options.devices}"], "alone": ["packing.devices=null"]}
    seconds = {}
    for way, overrides in ways.items():
        with contextlib.chdir(folder / way):
            if options.profile:
                jobs, seconds[way] = train_by_snakemake(overrides, options.profile)
            else:
                jobs, seconds[way] = train_by_commands(overrides, options.workers)
        print(f"{way}: {jobs} jobs, {seconds[way]:.1f} s")
    print(f"packed / alone: {seconds['packed'] / seconds['alone']:.3f} of the wall time")
    print(f"same bits: {_same_bits(folder, options.specialists)} of {options.specialists} members")


def measure_in_turn(run: RunFile) -> None:
    """CPU seconds of decisions and answers, alone and in one pack, and whether bits agree."""
    index = run.layout.read_index()
    for several in (stage for stage in PACKS if stage.in_turn):
        stage = STAGES[several.in_turn]
        jobs = list(jobs_of(run.layout, stage, index))
        files = [path for job in jobs for path in outputs(run.layout, stage, job, index).values()]
        common = ["--settings", str(run.path), "--threads", "1"]
        alone = 0.0
        for job in jobs:
            own = [text for key in stage.keys for text in (f"--{key}", job[key])]
            alone += _cpu_seconds(["shoal", command_of(stage.name), *common, *own])
        made = {path: path.read_bytes() for path in files if path.suffix == ".safetensors"}
        for path in files:
            path.unlink()
        name = settings_id([str(path) for path in files])
        members, status = (
            run.layout.pack_members(name, several.name),
            run.layout.pack_status(name, several.name),
        )
        write_json(members, jobs)
        together = _cpu_seconds(["shoal", command_of(several.name), *common, "--pack", name])
        members.unlink()
        status.unlink()
        print(
            f"{stage.name}: {len(jobs)} jobs, {alone:.1f} CPU s alone, {together:.1f} in one "
            f"process, {together / alone:.2f}"
        )
        if not all(path.read_bytes() == content for path, content in made.items()):
            sys.exit(f"{stage.name}: other bits in one process")


def _cpu_seconds(command: list[str]) -> float:
    """Of a command and all that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _run(command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def lay_out(folder: Path, count: int, seed: int) -> None:
    """An experiment with ``count`` partitions of about 100 rows."""
    (folder / "data").mkdir(parents=True)
    (folder / "config" / "experiment").mkdir(parents=True)
    for name in ("Snakefile", "workflow", "envs", "profiles", "slurm"):
        (folder / name).symlink_to(ROOT / name)
    for path in (ROOT / "config").iterdir():
        if path.name != "experiment":
            (folder / "config" / path.name).symlink_to(path)
    settings = SETTINGS.format(count=count)
    (folder / "config" / "experiment" / "packing.yaml").write_text(settings)
    rng = np.random.default_rng(seed)
    rows = 100 * count
    values = {f"x{number}": rng.normal(size=rows).round(4) for number in range(8)}
    part = np.arange(rows) % count
    label = (values["x0"] * np.cos(part) + values["x1"] * np.sin(part) > 0).astype(int)
    table = pd.DataFrame(values | {"part": [f"p{n}" for n in part], "label": label})
    table.to_csv(folder / "data" / "rows.csv", index=False)


def train_by_snakemake(overrides: list[str], profile: str) -> tuple[int, float]:
    """Jobs and seconds of Snakemake training the specialists and doing nothing else."""
    start = time.perf_counter()
    rules = [TRAINS, "train_pack"]
    lines = _snakemake(["--until", *rules], overrides, profile).splitlines()
    seconds = time.perf_counter() - start
    return sum(line in {f"rule {rule}:" for rule in rules} for line in lines), seconds


def train_by_commands(overrides: list[str], workers: int) -> tuple[int, float]:
    """Jobs and seconds of plain commands, ``workers`` at a time, Snakemake left out."""
    commands = _commands(Plan("packing", overrides, Path("config")))
    start = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(_run, commands))
    return len(commands), time.perf_counter() - start


def _commands(plan: Plan) -> list[list[str]]:
    """Command lines as the rules have them."""
    plan.write_records()
    layout, index = plan.layout, read_json(plan.layout.index, PartitionIndex)
    jobs = [job for job in layout.later_jobs(index) if job.rule == TRAINS]
    packs = planned_packs(plan, Estimate(plan, index, jobs), jobs)
    begin_packs(plan, index, write=True)
    packed = outputs_of(packs)
    return [
        *(_command(plan, "train-pack", {"pack": each.name}) for each in packs),
        *(
            _command(plan, "train-specialist", job.wildcards)
            for job in jobs
            if packed.isdisjoint(job.outputs)
        ),
    ]


def _command(plan: Plan, name: str, wildcards: Mapping[str, str]) -> list[str]:
    options = {"settings": plan.run_file, **wildcards, "threads": plan.settings.compute.threads}
    pairs = [(f"--{option}", str(value)) for option, value in options.items()]
    return ["shoal", name, *(text for pair in pairs for text in pair)]


def _snakemake(arguments: list[str], overrides: list[str], profile: str | None) -> str:
    """What Snakemake writes; without a profile on this machine."""
    fixed = ["--profile", profile] if profile else ["-c", str(os.cpu_count())]
    config = ["--config", "experiment=packing", f"overrides=[{', '.join(overrides)}]"]
    command = ["snakemake", *fixed, "--scheduler", "greedy", *arguments, *config]
    return _run(command)


def _run(command: list[str]) -> str:
    """What a command writes to standard error, in which it must not fail."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(result.stderr)
    return result.stderr


def _same_bits(folder: Path, count: int) -> int:
    """How many members have the same weights both ways."""
    pattern = "results/*/g1/specialists/*/*/*/*/model.safetensors"
    alone = list((folder / "alone").glob(pattern))
    if len(alone) != count:
        sys.exit(f"{len(alone)} specialists instead of {count}")
    twins = [folder / "packed" / path.relative_to(folder / "alone") for path in alone]
    pairs = zip(alone, twins, strict=True)
    return sum(path.read_bytes() == twin.read_bytes() for path, twin in pairs)


if __name__ == "__main__":
    main()
