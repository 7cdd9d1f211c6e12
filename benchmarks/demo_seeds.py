"""The demo over several seeds: pool, generalist and random partitions, paired by seed.

    python benchmarks/demo_seeds.py --seeds 5

Runs the workflow once a seed (split, weights, order, atoms and resamples all follow the seed) and
prints each contender's test accuracy, the mean difference to the pool and its 95 % interval over
seeds (Student's t).
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

ROOT = Path(__file__).parents[1]
CONTENDERS = ("pool_top1", "pool_top2", "generalist", "random_partitions", "constant")


def run(seed: int, overrides: list[str]) -> dict[str, Any]:
    """Metrics of the demo at one seed."""
    chosen = ", ".join([f"seed={seed}", *overrides])
    command = ["snakemake", "--profile", "profiles/local", "--logger", "shoal"]
    subprocess.run([*command, "--config", f"overrides=[{chosen}]"], cwd=ROOT, check=True)
    content: dict[str, Any] = json.loads((ROOT / "results" / "demo" / "metrics.json").read_text())
    return content


def interval(differences: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float]:
    """95 % interval of the mean over seeds."""
    low, high = stats.t.interval(
        0.95, len(differences) - 1, differences.mean(), stats.sem(differences)
    )
    return float(low), float(high)


def main() -> None:
    """Run all seeds and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("overrides", nargs="*", help="further overrides, such as embed=scarf")
    arguments = parser.parse_args()
    runs = [run(seed, arguments.overrides) for seed in range(arguments.seeds)]
    scores = {name: np.array([metrics[name]["score"] for metrics in runs]) for name in CONTENDERS}
    print("| contender | accuracy by seed | mean | pool top 1 minus it, 95 % over seeds |")
    print("| --- | --- | --- | --- |")
    for name, values in scores.items():
        by_seed = " ".join(f"{value:.3f}" for value in values)
        ahead = scores["pool_top1"] - values
        low, high = interval(ahead) if ahead.any() else (0.0, 0.0)
        difference = f"{ahead.mean():+.3f} ({low:+.3f} to {high:+.3f})"
        print(f"| {name} | {by_seed} | {values.mean():.3f} | {difference} |")
    print("verdicts: " + ", ".join(metrics["verdict"] for metrics in runs))


if __name__ == "__main__":
    main()
