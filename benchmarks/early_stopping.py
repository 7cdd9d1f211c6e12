"""Tables with grouped rows: does early stopping beat a constant answer where whole budgets do not?

    python -m benchmarks.early_stopping --data FOLDER --work FOLDER [--seeds 1]

Two tables, split by group: a generated one of 40 groups with an offset each, 150 rows per group,
and the hours of `bike_hour.csv.gz` from the data folder, whose groups are days. Each is run with a
budget of about 70 passes, 50 of them of specialists, once to its end and once with early stopping.
Prints for each run the verdict, scores, the interval of the best contender against the constant
answer, by group, and training FLOPs with the share of their cap.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks import workflows

if TYPE_CHECKING:
    from pathlib import Path

GROUPS, ROWS, FEATURES = 40, 150, 4
ARMS = {
    "whole": [],
    "early": ["train_specialists.patience=5", "train_specialists.schedule=constant"],
}
GENERATED = """\
sources:
  files: ["*.csv"]
  task: regression
  columns: {id: id, group: group, y: label}
split: {method: group, fractions: {train: 0.5, validation: 0.25, test: 0.25}}
cluster: {partitions: 4}
model: {width: 64}
train_specialists: {epochs: 50}
evaluate: {bootstrap: 2000}
grid: {}
"""
BIKES = """\
sources:
  files: [bike_hour.csv.gz]
  task: regression
  columns: {instant: id, dteday: group, casual: ignore, registered: ignore, cnt: label}
split: {method: group}
cluster: {partitions: 4}
model: {width: 64}
train_specialists: {epochs: 50}
evaluate: {bootstrap: 2000}
grid: {}
"""
EXPERIMENTS = {"offsets": GENERATED, "bikes": BIKES}


def offsets(seed: int) -> pd.DataFrame:
    """Rows of groups: a weak rule that all share, an offset per group, and what tells groups apart.

    A model can learn offsets by heart from the features that only tell groups apart, which is of no
    use in other groups.
    """
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(GROUPS), ROWS)
    x = rng.normal(size=(GROUPS * ROWS, FEATURES))
    told = rng.normal(size=(GROUPS, FEATURES))[group] + 0.1 * rng.normal(size=x.shape)
    y = 0.5 * x[:, 0] + rng.normal(size=GROUPS)[group] + 0.5 * rng.normal(size=len(x))
    columns = {f"x{n}": x[:, n] for n in range(FEATURES)}
    columns |= {f"z{n}": told[:, n] for n in range(FEATURES)}
    names = {"id": [f"r{n}" for n in range(len(x))], "group": [f"g{n}" for n in group]}
    return pd.DataFrame(names | columns | {"y": y}).round(4)


def main() -> None:
    """Run and print."""
    asked = workflows.asked(__doc__, EXPERIMENTS, seeds=1)
    rows = []
    for seed in range(asked.seeds):
        for name in asked.only:
            for arm in ARMS:
                folder = asked.work.absolute() / f"{name}-{arm}-{seed}"
                rows.append(
                    {
                        "table": name,
                        "arm": arm,
                        "seed": seed,
                        **run(folder, name, arm, seed, asked.data),
                    }
                )
                print(json.dumps(rows[-1]), flush=True)
    print(pd.DataFrame(rows).to_string(index=False))


def run(folder: Path, name: str, arm: str, seed: int, data: Path) -> dict[str, Any]:
    """Numbers of an experiment."""
    sources = data.absolute()
    if name == "offsets":
        sources = folder / "data"
        sources.mkdir(parents=True, exist_ok=True)
        offsets(seed).to_csv(sources / "offsets.csv", index=False)
    overrides = [*ARMS[arm], f"seed={seed}", f"sources.folder={sources}"]
    results = workflows.run(folder, name, EXPERIMENTS[name], overrides)
    metrics = json.loads((results / "metrics.json").read_text())
    found: dict[str, Any] = {"verdict": metrics["verdict"], "sentence": metrics["sentence"]}
    found |= {each: metrics["against_constant"][each] for each in ("contender", "low", "high")}
    for each in ("pool_top1", "ungated", "generalist", "constant"):
        found[each] = metrics[each]["score"]
    for each in ("ungated", "generalist"):
        spent = metrics[each]["train_flops"]
        most = metrics[each].get("train_flops_at_most", spent)
        found |= {f"{each} flops": spent, f"{each} share": spent / most}
    return found


if __name__ == "__main__":
    main()
