"""What a data change costs: f % of the partitions of MNIST and Fashion-MNIST changed, then a run.

    python benchmarks/staleness.py --data FOLDER

Runs experiment ``mnist_fashion`` once from nothing. Then, each time from a copy of that state,
gives one training row in each of f % of the partitions another label, runs again and sums the
ledgers of the jobs that ran. A key is a hash of the inputs, so no row changes its fold or its
partition. For f = 0 the label of one test row changes. Partitions and rows are drawn by ``--seed``.

FLOPs count the pool's jobs: fits, embed, assign, specialists, choices, router. Baselines belong to
the generation and are trained once; they are left out on both sides, as are evaluate's passes over
the test fold, which are in no ledger. Seconds are those of all jobs but the baselines, one after
the other.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.cluster.assigner import load_assigner
from shoal.embed.embedder import load_embedder
from shoal.formats.json_file import read_json
from shoal.formats.tables import Table, keys
from shoal.partitions.reader import Index
from shoal.plan.plan import Plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shoal.plan.jobs import Job

ROOT = Path(__file__).parents[1]
EXPERIMENT = "mnist_fashion"
LABELS = {"mnist.npz": ("y",), "fashion_mnist.npz": ("y_train", "y_test")}
BASELINES = ("evaluate_generalist", "evaluate_random")
FITS = ("embed_fit", "cluster_fit", "base_fit")
LEDGERED = (*FITS, "train_specialist", "train_choose", "train_router", *BASELINES)
SHARES = (0, 5, 10, 25, 50, 100)


@dataclass
class Cost:
    """What a run cost, by rule.

    Attributes:
        jobs: Jobs that ran.
        seconds: Wall-clock seconds of each job, summed.
        flops: Own FLOPs of each job, summed.
        wall: Wall-clock seconds of the whole command.
    """

    wall: float
    jobs: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    flops: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @property
    def total_seconds(self) -> float:
        """Of all jobs but the baselines."""
        return sum(self.seconds.values()) - sum(self.seconds[rule] for rule in BASELINES)

    def total_flops(self, *without: str) -> float:
        """Of all jobs but the baselines and some rules."""
        left_out = {*BASELINES, *without}
        return sum(value for rule, value in self.flops.items() if rule not in left_out)


class Experiment:
    """The experiment in a folder of its own."""

    def __init__(self, folder: Path, overrides: list[str]) -> None:
        """Take the folder as it is."""
        self.folder = folder
        self.overrides = ["sources.folder=data", "packing.devices=null", *overrides]

    def set_up(self, data: Path) -> None:
        """Lay out configuration and a copy of the data."""
        (self.folder / "data").mkdir(parents=True)
        for name in LABELS:
            shutil.copyfile(data / name, self.folder / "data" / name)
        for name in ("Snakefile", "workflow", "config", "envs", "profiles", "examples"):
            (self.folder / name).symlink_to(ROOT / name)

    @property
    def plan(self) -> Plan:
        """The experiment's plan; ask for it in the folder."""
        return Plan(EXPERIMENT, self.overrides, Path("config"))

    @property
    def index(self) -> Index:
        """The partition index; ask for it in the folder."""
        return Index(self.plan.layout.index)

    def run(self) -> Cost:
        """Run what is missing; what that cost."""
        before = _times(self.plan.root)
        command = ["snakemake", "--cores", "all", "--scheduler", "greedy", "--config"]
        command += [f"experiment={EXPERIMENT}", f"overrides=[{', '.join(self.overrides)}]"]
        start = time.perf_counter()
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        cost = Cost(time.perf_counter() - start)
        if result.returncode:
            sys.exit(result.stderr)
        plan = self.plan
        new = {path for path, at in _times(plan.root).items() if before.get(path) != at}
        for job in plan.layout.jobs(self.index.content):
            if not new.isdisjoint(job.outputs):
                cost.jobs[job.rule] += 1
                cost.flops[job.rule] += _flops(job, plan)
        for path in new:
            parts = path.relative_to(plan.root).parts
            if parts[0] == "benchmarks":
                rule = parts[2] if parts[1] == plan.layout.generation else parts[1]
                cost.seconds[rule] += _seconds(path)
        return cost


def _times(folder: Path) -> dict[Path, int]:
    """When each file of a folder was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def _seconds(path: Path) -> float:
    """Wall-clock seconds in a file that Snakemake's ``benchmark`` wrote."""
    head, values = path.read_text().splitlines()[:2]
    return float(dict(zip(head.split("\t"), values.split("\t"), strict=True))["s"])


def _flops(job: Job, plan: Plan) -> float:
    """A job's own FLOPs: ledgers of some also count what these build upon."""
    layout = plan.layout
    if job.rule == "assign":
        rows = int(
            read_json(layout.file("assign.summary", shard=job.about), dict[str, Any])["rows"]
        )
        embedder = load_embedder(layout.file("embed_fit.embedder"))
        assigner = load_assigner(layout.file("cluster_fit.assigner"))
        return rows * float(embedder.flops_per_row + getattr(assigner, "flops_per_row", 0.0))
    if job.rule not in LEDGERED:
        return 0.0
    ledger = read_json(next(path for path in job.outputs if path.suffix == ".json"), dict[str, Any])
    flops = float(ledger["flops"])
    if job.rule == "train_router":
        return flops - float(ledger["detail"]["embedding"] + ledger["detail"]["assignment"])
    if job.rule in BASELINES:
        base = read_json(layout.file("base_fit.ledger"), dict[str, Any])
        return flops - float(base["flops"])
    return flops


class Labels:
    """Labels of the source files, to be changed row by row."""

    def __init__(self, plan: Plan) -> None:
        """Find the row of every key."""
        self._arrays = {}
        self._changed: set[Path] = set()
        self._rows: dict[bytes, list[tuple[Path, int]]] = defaultdict(list)
        for shard, (path, _) in plan.shards.items():
            with np.load(path) as file:
                self._arrays[path] = dict(file)
            table = Table(plan.layout.file("split.table", shard=shard))
            found = np.concatenate([keys(batch) for batch in table.batches(4096, ["_key"])])
            table.close()
            for row, key in enumerate(found):
                self._rows[key.tobytes()].append((path, row))
            if len(found) != sum(len(self._arrays[path][name]) for name in LABELS[path.name]):
                sys.exit(f"{path}: split has dropped rows; their places are not known")

    def change(self, candidates: NDArray[np.uint8], rng: np.random.Generator) -> None:
        """Give one of the rows with these keys another label; one whose inputs occur once."""
        for number in rng.permutation(len(candidates)):
            rows = self._rows[candidates[number].tobytes()]
            if len(rows) == 1:
                self._change(*rows[0])
                return
        sys.exit("the inputs of every row of a partition occur twice: none changes alone")

    def _change(self, path: Path, row: int) -> None:
        for name in LABELS[path.name]:
            labels = self._arrays[path][name]
            if row < len(labels):
                labels[row] = (int(labels[row]) + 1) % 10
                self._changed.add(path)
                return
            row -= len(labels)

    def write(self) -> None:
        """Write the files of which a label changed."""
        for path in self._changed:
            np.savez(path, **self._arrays[path])


@dataclass(frozen=True)
class Changed:
    """A run after f % of the partitions changed."""

    share: int
    partitions: int
    rows: float
    cost: Cost


def change(experiment: Experiment, share: int, seed: int) -> Changed:
    """Change f % of the partitions in the experiment's folder, and run."""
    rng = np.random.default_rng(seed)
    before, labels = experiment.index, Labels(experiment.plan)
    numbers = rng.permutation([int(entry["partition"]) for entry in before.trained])
    chosen = numbers[: math.ceil(share / 100 * len(numbers))].tolist()
    for number in chosen:
        labels.change(before.read(number, "train", ("key",))["key"], rng)
    if not chosen:
        labels.change(before.read(int(numbers[0]), "test", ("key",))["key"], rng)
    labels.write()
    cost = experiment.run()
    pairs = zip(before.partitions, experiment.index.partitions, strict=True)
    changed = [a["partition"] for a, b in pairs if a["digests"]["train"] != b["digests"]["train"]]
    if sorted(chosen) != changed:
        sys.exit(f"partitions {sorted(chosen)} were to change; those that did: {changed}")
    rows = sum(before.partitions[number]["rows"]["train"] for number in chosen)
    return Changed(share, len(chosen), rows / before.content["rows"]["train"], cost)


def show(full: Cost, runs: list[Changed]) -> None:
    """Print the tables."""
    print(
        "| f | partitions | their training rows | train jobs | seconds | of full | FLOPs |", end=""
    )
    print(" of full | bar | of full without fits |")
    print("| --- " * 10 + "|")
    for run in [*runs, Changed(-1, 0, 1.0, full)]:
        cost, name = run.cost, f"{run.share} %" if run.share >= 0 else "full"
        seconds, flops = cost.total_seconds, cost.total_flops()
        stricter = cost.total_flops(*FITS) / full.total_flops(*FITS)
        bar = f"{run.share + 2} %" if run.share >= 0 else ""
        print(
            f"| {name} | {run.partitions or ''} | {run.rows:.1%}"
            f" | {cost.jobs['train_specialist']} | {seconds:.0f}"
            f" | {seconds / full.total_seconds:.1%} | {flops:.3e}"
            f" | {flops / full.total_flops():.2%} | {bar} | {stricter:.2%} |"
        )
    print("\n| rule | jobs | seconds | FLOPs | jobs at f = 0 | seconds | FLOPs |")
    print("| --- " * 7 + "|")
    for rule in full.jobs:
        cells = [
            f"{cost.jobs[rule]} | {cost.seconds[rule]:.1f} | {cost.flops[rule]:.2e}"
            for cost in (full, runs[0].cost)
        ]
        print(f"| {rule} | {' | '.join(cells)} |")
    walls = ", ".join(f"f = {run.share}: {run.cost.wall:.0f}" for run in runs)
    print(f"\nwall-clock seconds of the command: full {full.wall:.0f}, {walls}")


def main() -> None:
    """Run from nothing, then once for each f, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the two NPZ files")
    parser.add_argument("--partitions", type=int, default=20)
    parser.add_argument("--rows-seen", type=int, help="a smaller budget than the experiment's")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    overrides = [f"cluster.partitions={arguments.partitions}"]
    overrides += [f"cluster.max_partitions={max(16, arguments.partitions)}"]
    if arguments.rows_seen:
        overrides.append(f"train_specialists.rows_seen={arguments.rows_seen}")
    with tempfile.TemporaryDirectory(prefix="staleness-") as name:
        start = Experiment(Path(name, "start"), overrides)
        start.set_up(arguments.data)
        with contextlib.chdir(start.folder):
            full = start.run()
        runs = []
        for share in SHARES:
            experiment = Experiment(Path(name, "changed"), overrides)
            shutil.copytree(start.folder, experiment.folder, symlinks=True)
            with contextlib.chdir(experiment.folder):
                runs.append(change(experiment, share, arguments.seed))
            shutil.rmtree(experiment.folder)
            print(f"f = {share} %: {runs[-1].cost.wall:.0f} s", file=sys.stderr)
    print(f"overrides: {' '.join(overrides)}; seed {arguments.seed}\n")
    show(full, runs)


if __name__ == "__main__":
    main()
