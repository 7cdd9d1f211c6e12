"""Real tables and texts: is a pool ever worse than the best generalist?

    python -m benchmarks.controls --data FOLDER --work FOLDER [--seeds 5]

Runs the workflow on five datasets, on small budgets, as a search over two widths of a network: the
pool as it is shipped and the generalist are each of the width with the better score on validation
rows, and only these two are compared on test rows. A seed is that of the split and of all else;
the folds of ``intents`` are the file's own.

Printed are scores on test rows by seed, the difference with its paired 95 % interval (over days
where rows are split by day), and for each dataset the mean difference with its interval over seeds
(Student's t), and in how many seeds the pool is significantly better and worse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from benchmarks import workflows
from shoal.evaluate.bootstrap import Difference
from shoal.formats.documents.judgement import scored
from shoal.formats.scores import SCORES
from shoal.formats.text import number_text, score_decimals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from shoal.formats.kinds import Metric

EXPERIMENTS = {
    "adult": """\
sources:
  files: [adult.csv.gz]
  columns: {income: label, split: ignore}
cluster: {partitions: 4}
train_specialists: {rows_seen: 200000}
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
cluster: {partitions: 4}
train_specialists: {rows_seen: 200000}
""",
    "bike_hour": """\
sources:
  files: [bike_hour.csv.gz]
  task: regression
  columns: {instant: id, dteday: group, casual: ignore, registered: ignore, cnt: label}
split: {method: group}
cluster: {partitions: 4}
train_specialists: {rows_seen: 200000}
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
cluster: {partitions: 4}
train_specialists: {rows_seen: 150000}
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
train_specialists: {rows_seen: 30000}
""",
}
SETTINGS = ["model.width=[16,64]", "evaluate.bootstrap=1000"]


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
    def read(cls, results: Path) -> Compared:
        """Read what is published of the variant whose pool was chosen."""
        found = [scored(path) for path in results.glob("variants/*/metrics.json")]
        (metrics,) = (each for each in found if each is not None)
        search, difference, gate = metrics["search"], metrics["difference"], metrics["gate"]
        widths = {each["variant"]: each["changes"]["model.width"] for each in search["variants"]}
        return cls(
            metrics["metric"],
            (metrics[metrics["shipped"]]["score"], metrics["generalist"]["score"]),
            Difference(difference["value"], difference["low"], difference["high"]),
            (widths[search["pool"]], widths[search["generalist"]]),
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
    asked = workflows.asked(__doc__, EXPERIMENTS, seeds=5)
    print("| dataset | seed | pool | generalist | pool ahead | widths | partitions served |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    runs: dict[str, list[Compared]] = {name: [] for name in asked.only}
    for seed in range(asked.seeds):
        for name in asked.only:
            folder = asked.work.absolute() / f"{name}-{seed}"
            overrides = [*SETTINGS, f"seed={seed}", f"sources.folder={asked.data.absolute()}"]
            results = workflows.run(folder, name, EXPERIMENTS[name], overrides)
            runs[name].append(Compared.read(results))
            print(f"| {name} | {seed} | {' | '.join(runs[name][-1].cells())} |", flush=True)
    for name, own in runs.items():
        print(f"{name}: {over_seeds(own)}")


if __name__ == "__main__":
    main()
