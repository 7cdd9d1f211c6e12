"""What an idle look of ``shoal follow`` costs beside ``shoal plan``, by turns in one run.

    python -m benchmarks.follow

Lays out a finished experiment with generated summaries (no stage runs), as ``plan_scale`` does, and
lets nothing change. A look is the whole cycle: names, marks of all files, and what follows. The
same with ``--from``: the files lie in a folder beside, and all have been brought.
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
LOOKS = ("look", "look --from")
ROWS = 10_000
"""Rows of a shard."""


def measure(folder: Path, scale: Scale, repeats: int, seed: int) -> Stopwatch:
    """Lay out an experiment; look at it and plan it in turns."""
    scale_experiment.complete(folder, scale, seed)
    there = folder.with_name("there")
    there.mkdir()
    for path in (folder / "data").glob("*.csv"):
        path.rename(there / path.name)
    watch, experiment = Stopwatch(folder), Experiment("scale")
    with contextlib.chdir(folder):
        root = Path("results", "scale")
        asked = Follow(root, lambda: experiment.content([]), [], 60, 0, False, f"file://{there}")
        follower = Follower(asked)
        with follower.mirrored():
            watch.call("bring", lambda: list(follower.bring()))
            follower.done = follower.look()[0]
            if len(follower.done) != scale.shards:
                raise SystemExit(f"it sees {len(follower.done)} files of {scale.shards}")
            watch.command("first plan", PLAN)
            for _ in range(repeats):
                watch.call("look", follower.look)
                watch.call("look --from", lambda: (list(follower.bring()), follower.look()))
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
    print(f"| files | | look, CPU ms | plan, CPU ms | look of plan, CPU | seconds | aim {AIM} |")
    print("| --: | --- | --: | --: | --: | --: | --- |")
    for shards in asked.shards:
        scale = Scale(shards, asked.partitions, shards * ROWS)
        with tempfile.TemporaryDirectory(prefix="follow-") as name:
            watch = measure(Path(name, "experiment"), scale, asked.repeats, asked.seed)
        for look in LOOKS:
            cpu, wall = ([_median(watch, n, each) for n in (look, "plan")] for each in UNITS)
            ratios = cpu[0] / cpu[1], wall[0] / wall[1]
            held = "held" if max(ratios) <= AIM else "missed"
            print(
                f"| {shards:,} | {look} | {1000 * cpu[0]:.1f} | {1000 * cpu[1]:.0f}"
                f" | {ratios[0]:.4f} | {ratios[1]:.4f} | {held} |"
            )
        brought = 1000 * _median(watch, "bring", "cpu")
        print(f"| {shards:,} | all brought at first | {brought:.1f} | | | | |", flush=True)


if __name__ == "__main__":
    main()
