"""Real tables and texts: is a pool ever worse than the best generalist?

    python -m benchmarks.controls --data FOLDER --work FOLDER [--seeds 5]

Runs the workflow on five datasets, with two widths of a network as variants of one experiment, on
small budgets. Both sides have the same search: the pool as it is shipped and the generalist are
each of the width with the better score on validation rows, the same rows for both, and only these
two are compared on test rows. A seed is that of the split and of all else.

Printed are scores on test rows by seed, the difference with its paired 95 % interval (over days
where rows are split by day), and for each dataset the mean difference with its interval over seeds
(Student's t), and in how many seeds the pool is significantly better and worse.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
from scipy import stats

from benchmarks import workflows
from shoal.evaluate.bootstrap import paired_bootstrap
from shoal.formats.documents.index import PartitionIndex
from shoal.formats.json_file import read_json
from shoal.formats.scores import SCORES
from shoal.formats.text import number_text, score_decimals
from shoal.formats.units import UNIT
from shoal.plan.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from shoal.evaluate.bootstrap import Difference
    from shoal.formats.kinds import Metric

EXPERIMENTS = {
    "adult": """\
sources:
  files: [adult.csv.gz]
  columns: {income: label, split: ignore}
train_specialists: {rows_seen: 500000}
""",
    "housing": """\
sources:
  files: [california_housing.csv.gz]
  task: regression
  columns: {median_house_value: label, ocean_proximity: categorical}
transform:
  steps:
    - step: log
      columns: [total_rooms, total_bedrooms, population, households, median_income]
train_specialists: {rows_seen: 500000}
""",
    "bike_hour": """\
sources:
  files: [bike_hour.csv.gz]
  task: regression
  columns: {instant: id, dteday: group, casual: ignore, registered: ignore, cnt: label}
split: {method: group}
train_specialists: {rows_seen: 500000}
""",
    "intents": """\
defaults:
  - override /split: column
sources:
  files: [clinc150.csv.gz]
  columns: {text: text, intent: label, domain: ignore}
split:
  column: split
  values: {train: train, val: validation, test: test}
  outside: [oos_train, oos_val, oos_test]
embed: {dims: 64}
model: {depth: 1}
train_specialists: {rows_seen: 300000}
""",
    "titanic": """\
defaults:
  - override /split: stratified
sources:
  files: [titanic.csv.gz]
  columns:
    survived: label
    pclass: categorical
    sex: categorical
    age: numeric
    sibsp: numeric
    parch: numeric
    fare: numeric
    embarked: categorical
    deck: categorical
  undeclared: ignore
transform:
  steps:
    - {step: impute, columns: [age], options: {strategy: median}}
    - {step: log, columns: [fare]}
cluster: {partitions: 3, atoms: 16}
train_specialists: {rows_seen: 60000}
""",
}
SETTINGS = ["model.width=[16,64]", "evaluate.bootstrap=2000"]

VALUES = {"accuracy": "correct", "rmse": "squared_error"}
"""What the predictions of a run hold of each row, by metric."""


@dataclass(frozen=True)
class Run:
    """A variant's run.

    Attributes:
        width: Of its network.
        metrics: Its ``metrics.json``.
        validation: Scores on validation rows, higher is better, by contender.
        predictions: What each contender says of each test row.
    """

    width: int
    metrics: dict[str, Any]
    validation: dict[str, float]
    predictions: pa.Table

    @classmethod
    def read(cls, folder: Path, home: Path) -> Run:
        """A variant's run by the folder that it is published in."""
        plan = json.loads((home / "plan.json").read_text())
        layout = Layout.from_json(plan["layout"])
        index = read_json(folder / layout.index, PartitionIndex)
        predictions = folder / layout.file("evaluate.predictions", index)
        return cls(
            plan["settings"]["model"]["width"],
            json.loads((home / "metrics.json").read_text()),
            json.loads((home / "pool" / "gate.json").read_text())["validation"],
            pq.read_table(predictions),
        )

    def values(self, contender: str) -> NDArray[np.float64]:
        """Values of the metric by row."""
        name = f"{contender}_{VALUES[self.metrics['metric']]}"
        return np.asarray(self.predictions[name], dtype=np.float64)


@dataclass(frozen=True)
class Compared:
    """The chosen pool and the chosen generalist on test rows.

    Attributes:
        metric: The score.
        scores: Of the two.
        ahead: Score of the pool minus that of the generalist.
        widths: Of the two.
        serving: Specialists that serve, of how many.
    """

    metric: Metric
    scores: tuple[float, float]
    ahead: Difference
    widths: tuple[int, int]
    serving: tuple[int, int]

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Compared:
        """Choose both on validation rows and compare them."""
        pool, generalist = (
            max(runs, key=lambda run, name=name: run.validation[name])  # type: ignore[misc]
            for name in ("pool", "generalist")
        )
        metric, shipped, units = pool.metrics["metric"], pool.metrics["shipped"], None
        if UNIT in pool.predictions.column_names:
            units = np.asarray(pool.predictions[UNIT])
        if pool.predictions["key"] != generalist.predictions["key"]:
            raise ValueError("the two were asked about other rows")
        pair = pool.values(shipped), generalist.values("generalist")
        ahead = paired_bootstrap(*pair, metric, 2000, 0, units=units)
        gate = pool.metrics["gate"]
        return cls(
            metric,
            (pool.metrics[shipped]["score"], generalist.metrics["generalist"]["score"]),
            ahead,
            (pool.width, generalist.width),
            (gate["serving"], gate["specialists"]),
        )

    def cells(self) -> list[str]:
        """Cells of the table."""
        decimals = score_decimals(self.metric, self.scores, self.ahead.ends)
        around = " to ".join(number_text(end, decimals, sign=True) for end in self.ahead.ends)
        return [
            *(number_text(score, decimals) for score in self.scores),
            f"{number_text(self.ahead.value, decimals, sign=True)} ({around})",
            f"{self.widths[0]}, {self.widths[1]}",
            f"{self.serving[0]} of {self.serving[1]}",
        ]


def over_seeds(runs: Sequence[Compared]) -> str:
    """Mean difference and how often it is significant."""
    metric, ahead = runs[0].metric, np.array([run.ahead.value for run in runs])
    decimals = score_decimals(metric, [score for run in runs for score in run.scores], [])
    around = ""
    if len(ahead) > 1 and ahead.any():
        ends = stats.t.interval(0.95, len(ahead) - 1, ahead.mean(), stats.sem(ahead))
        around = f" ({' to '.join(number_text(float(end), decimals, sign=True) for end in ends)})"
    signs = [run.ahead.sign * SCORES[metric].sign for run in runs]
    return (
        f"{SCORES[metric].title}, pool ahead by "
        f"{number_text(float(ahead.mean()), decimals, sign=True)}{around}, significantly better in "
        f"{signs.count(1)} and worse in {signs.count(-1)} of {len(runs)}"
    )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the datasets")
    parser.add_argument("--work", type=Path, required=True, help="experiments run here")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=list(EXPERIMENTS), choices=EXPERIMENTS)
    asked = parser.parse_args()
    print("| dataset | seed | pool | generalist | pool ahead | widths | partitions served |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    runs: dict[str, list[Compared]] = {name: [] for name in asked.only}
    for seed in range(asked.seeds):
        for name in asked.only:
            folder = asked.work.absolute() / f"{name}-{seed}"
            overrides = [*SETTINGS, f"seed={seed}", f"sources.folder={asked.data.absolute()}"]
            results = workflows.run(folder, name, EXPERIMENTS[name], overrides)
            homes = sorted((results / "variants").iterdir())
            runs[name].append(Compared.of([Run.read(folder, home) for home in homes]))
            print(f"| {name} | {seed} | {' | '.join(runs[name][-1].cells())} |", flush=True)
    for name, own in runs.items():
        print(f"{name}: {over_seeds(own)}")


if __name__ == "__main__":
    main()
