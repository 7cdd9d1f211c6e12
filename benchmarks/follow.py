"""What an idle look of ``shoal follow`` costs beside ``shoal plan``, by turns in one run.

    python -m benchmarks.follow

Lays out a finished experiment with generated summaries (no stage runs), as ``plan_scale`` does, and
lets nothing change. A look is the whole cycle: names, marks of all files, and what follows.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
from pathlib import Path

from benchmarks import scale_experiment
from benchmarks.plan_scale import PLAN, Stopwatch
from benchmarks.scale_experiment import Scale
from shoal.cli.experiment import Experiment
from shoal.operate.follow import Follow, Follower

AIM = 1.5
UNITS = ("cpu", "seconds")
ROWS = 10_000
"""Rows of a shard."""


def measure(folder: Path, scale: Scale, repeats: int, seed: int) -> Stopwatch:
    """Lay out an experiment; look at it and plan it in turns."""
    scale_experiment.complete(folder, scale, seed)
    watch, experiment = Stopwatch(folder), Experiment("scale")
    with contextlib.chdir(folder):
        root = Path("results", "scale")
        follower = Follower(Follow(root, lambda: experiment.content([]), [], 60, 0, once=False))
        follower.done = follower.look()[0]
        if len(follower.done) != scale.shards:
            raise SystemExit(f"it sees {len(follower.done)} files of {scale.shards}")
        for _ in range(repeats):
            watch.call("look", follower.look)
            watch.command("plan", PLAN)
    return watch


def _median(watch: Stopwatch, name: str, unit: str) -> float:
    return statistics.median(getattr(run, unit) for run in watch.runs[name])


def main() -> None:
    """Measure every size and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, nargs="+", default=[3, 100, 1000])
    parser.add_argument("--partitions", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print(f"| files | look, CPU ms | plan, CPU ms | look of plan, CPU | seconds | aim {AIM} |")
    print("| --: | --: | --: | --: | --: | --- |")
    for shards in asked.shards:
        scale = Scale(shards, asked.partitions, shards * ROWS)
        with tempfile.TemporaryDirectory(prefix="follow-") as name:
            watch = measure(Path(name, "experiment"), scale, asked.repeats, asked.seed)
        cpu, wall = ([_median(watch, n, each) for n in ("look", "plan")] for each in UNITS)
        ratios = cpu[0] / cpu[1], wall[0] / wall[1]
        held = "held" if max(ratios) <= AIM else "missed"
        print(
            f"| {shards:,} | {1000 * cpu[0]:.1f} | {1000 * cpu[1]:.0f} | {ratios[0]:.4f}"
            f" | {ratios[1]:.4f} | {held} |"
        )


if __name__ == "__main__":
    main()
