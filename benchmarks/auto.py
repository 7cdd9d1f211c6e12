"""Does `experiment=auto` come within a point of the best fixed choice?

    python -m benchmarks.auto --data FOLDER --work FOLDER [--seeds 1] [--rows 4000] [--only adult …]

Each data set of the folder, a mixture of two, and one made of clusters is run by
`experiment=auto`, and by every fixed choice: each of its variants, and each with a fixed number of
partitions, all with the training FLOPs that each of auto's variants has. Jobs run in this process,
one after the other. Prints for each data set what auto chose by validation, its test score, the
best fixed choice by test score, which no one could know, and the distance: in points of accuracy,
or in hundredths of the constant answer's error.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from shoal.cli.stage_command import StageJob
from shoal.formats.documents.judgement import GateRecord
from shoal.formats.json_file import read_made
from shoal.plan.plan import Plan
from shoal.plan.stages import STAGES
from shoal.plan.variants import variants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PARTITIONS = (8,)
"""Fixed numbers of partitions beside the one that probes choose."""
_NOT_ASKED = ("drift_sample", "evaluate_drift", "pool_publish", "answers")
"""Rules whose outputs say nothing of a choice."""
CHEAP = [
    "evaluate.bootstrap=100",
    "evaluate.map_rows=100",
    "cluster.fit_rows=1500",
    "cluster.atoms=32",
]


@dataclass(frozen=True)
class Dataset:
    """A data set: a function that gives its rows, FLOPs of one pool, and what has to be said."""

    rows: Callable[[Path, int, np.random.Generator], dict[str, Any]]
    flops: float
    overrides: tuple[str, ...] = ()


def _table(file: str, label: str, drop: tuple[str, ...] = ()) -> Callable[..., dict[str, Any]]:
    def rows(data: Path, count: int, rng: np.random.Generator) -> dict[str, Any]:
        frame = pd.read_csv(data / file).drop(columns=list(drop))
        taken = np.sort(rng.permutation(len(frame))[:count])
        return dict(frame.iloc[taken].rename(columns={label: "label"}).items())

    return rows


def _images(*parts: tuple[str, str, str]) -> Callable[..., dict[str, Any]]:
    def rows(data: Path, count: int, rng: np.random.Generator) -> dict[str, Any]:
        images, labels = [], []
        for file, image, label in parts:
            with np.load(data / file) as held:
                taken = np.sort(rng.permutation(len(held[label]))[: count // len(parts)])
                images.append(held[image][taken])
                labels.append(held[label][taken])
        return {"image": np.concatenate(images), "label": np.concatenate(labels)}

    return rows


def _mixed_text(data: Path, count: int, rng: np.random.Generator) -> dict[str, Any]:
    """Of which source a piece of text is."""
    frame = pd.read_parquet(data / "mixed_text.parquet")
    frame = frame.iloc[np.sort(rng.permutation(len(frame))[:count])]
    return {"text": frame["text"], "group": frame["document"], "label": frame["source"]}


def _clusters(data: Path, count: int, rng: np.random.Generator) -> dict[str, Any]:  # noqa: ARG001
    """Eight clusters in eight dimensions, a linear rule of its own in each."""
    centres, rules = rng.normal(size=(8, 8)) * 3, rng.normal(size=(8, 8))
    own = rng.integers(0, 8, count)
    offset = rng.normal(size=(count, 8))
    columns = {f"x{n}": (centres[own] + offset)[:, n] for n in range(8)}
    return columns | {"label": np.where((offset * rules[own]).sum(axis=1) > 0, "a", "b")}


_MNIST, _FASHION = ("mnist.npz", "x", "y"), ("fashion_mnist.npz", "x_train", "y_train")
DATASETS = {
    "adult": Dataset(_table("adult.csv.gz", "income", ("split",)), 2e9),
    "california_housing": Dataset(_table("california_housing.csv.gz", "median_house_value"), 1e9),
    "bike_hour": Dataset(
        _table("bike_hour.csv.gz", "cnt", ("casual", "registered", "instant")),
        1e9,
        ("sources.columns.dteday=ignore", "sources.columns.label=label"),
    ),
    "clinc150": Dataset(_table("clinc150.csv.gz", "intent", ("split", "domain")), 1e10),
    "titanic": Dataset(
        _table(
            "titanic.csv.gz", "survived", ("alive", "class", "who", "adult_male", "embark_town")
        ),
        5e8,
    ),
    "mnist": Dataset(_images(_MNIST), 1e10),
    "fashion_mnist": Dataset(_images(_FASHION), 1e10),
    "mnist_and_fashion": Dataset(_images(_MNIST, _FASHION), 1e10),
    "mixed_text": Dataset(_mixed_text, 1e10),
    "clusters": Dataset(_clusters, 1e9),
}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--work", type=Path, required=True, help="experiments run here")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rows", type=int, default=4000, help="rows of a data set, at most")
    parser.add_argument("--only", nargs="+", default=list(DATASETS), choices=DATASETS)
    asked = parser.parse_args()
    data, work, rows = asked.data.absolute(), asked.work.absolute(), []
    for seed, name in itertools.product(range(asked.seeds), asked.only):
        start = time.perf_counter()
        result = measured(work / f"{name}-{seed}", name, seed, data, asked.rows)
        print(json.dumps(result | {"seconds": round(time.perf_counter() - start)}), flush=True)
        rows.append({key: value for key, value in result.items() if key != "fixed"})
    frame = pd.DataFrame(rows)
    print(frame.to_string(index=False))
    print(f"within a point: {int((frame['points'] <= 1).sum())} of {len(frame)}")


def measured(folder: Path, name: str, seed: int, data: Path, count: int) -> dict[str, Any]:
    """Auto and all fixed choices on a data set."""
    dataset = DATASETS[name]
    if not (folder / "data").exists():
        (folder / "config").mkdir(parents=True)
        _write(folder / "data", dataset.rows(data, count, np.random.default_rng(seed)))
    with contextlib.chdir(folder):
        common = [*dataset.overrides, *CHEAP, f"seed={seed}", "search.budget.hours=null"]
        auto = variants(
            Path("config"), "auto", [*common, f"search.budget.train_flops={_all(dataset)}"]
        )
        flops = auto[0].settings.train_specialists.flops
        own = [*common, f"train_specialists.flops={flops}"]
        found = []
        for variant in auto:
            stops = variant.settings.train_specialists.patience is not None
            for partitions in (None,) if stops else (None, *PARTITIONS):
                changes = list(_as_overrides(variant.changes))
                if partitions is not None:
                    changes += ["cluster=kmeans", f"cluster.partitions={partitions}"]
                found.append(_score([*own, *changes]) | {"changes": changes})
    candidates = [each for each in found if "cluster=kmeans" not in each["changes"]]
    chosen = max(candidates, key=lambda each: float(each["validation"]))
    best = max(found, key=lambda each: float(each["test"]))
    return {
        "data": name,
        "seed": seed,
        "chosen": " ".join(chosen["changes"]),
        "partitions": chosen["partitions"],
        "test": chosen["test"],
        "best": " ".join(best["changes"]),
        "best test": best["test"],
        "points": 100 * (float(best["test"]) - float(chosen["test"])),
        "spent": max(float(each["spent"]) for each in found),
        "fixed": found,
    }


def _as_overrides(changes: dict[str, Any]) -> Iterator[str]:
    for key, value in changes.items():
        if key.startswith("embed."):
            yield "embed=pca"
        yield f"{key}={'null' if value is None else value}"


def _all(dataset: Dataset) -> float:
    """FLOPs of auto's four variants, whose pool, generalist and random partitions share them."""
    return 12 * dataset.flops


def _write(folder: Path, columns: dict[str, Any]) -> None:
    folder.mkdir()
    if "image" in columns:
        np.savez(folder / "rows.npz", **columns)
    else:
        pd.DataFrame(columns).to_csv(folder / "rows.csv", index=False)


def _score(overrides: list[str]) -> dict[str, Any]:
    """Scores of one choice; accuracy, or the error's share of the constant answer's below one."""
    plan = Plan("auto", overrides, Path("config"))
    run(plan, _NOT_ASKED)
    index = plan.layout.read_index() or {"partitions": []}
    metrics = json.loads(plan.layout.file("evaluate.metrics", index).read_text())
    gate = read_made(plan.layout.file("gate.gate", index), GateRecord)
    score = metrics[metrics["shipped"]]["score"]
    if metrics["metric"] == "rmse":
        score = 1 - score / metrics["constant"]["score"]
    spent = sum(metrics[each]["train_flops"] for each in ("ungated", "generalist"))
    return {
        "validation": gate["validation"]["pool"],
        "test": score,
        "partitions": len(index["partitions"]),
        "spent": spent / (2 * float(plan.settings.train_specialists.flops or 1)),
    }


def run(plan: Plan, without: Sequence[str] = ()) -> None:
    """Run the jobs whose files are missing, in this process and in order.

    Args:
        plan: The plan.
        without: Rules that are left out.
    """
    plan.write_records()
    for job in plan.layout.early_jobs():
        do(plan, job.rule, dict(job.wildcards), wanted=bool(job.missing))
    index = plan.layout.read_index() or {"partitions": []}
    for job in plan.layout.later_jobs(index):
        wanted = job.missing and job.rule not in without
        do(plan, job.rule, dict(job.wildcards), wanted=bool(wanted))


def do(plan: Plan, rule: str, wildcards: dict[str, Any], *, wanted: bool) -> None:
    """Run a job where it is wanted; what it prints is lost."""
    if not wanted:
        return
    if "step" in wildcards:
        wildcards["step"] = int(wildcards["step"])
    options = wildcards | {"threads": 1, "cluster": None}
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        StageJob(STAGES[rule], [plan.run_file], options).do()


if __name__ == "__main__":
    main()
