"""The commands of the benchmark's rules: ``python -m benchmarks.regimes.step NAME …``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.regimes.contenders import BASELINES, CONTENDERS, REFERENCE, Work, overrides
from benchmarks.regimes.datasets import dataset_named, known_datasets, write_dataset
from shoal.errors import ShoalError
from shoal.formats.files import replacing
from shoal.formats.json_file import read_json, write_json
from shoal.terminal import leave


def main() -> None:
    """Run one step; a user's mistake is one line and exit code 2."""
    parser = argparse.ArgumentParser(description=__doc__)
    steps = parser.add_subparsers(dest="step", required=True)
    dataset = steps.add_parser("dataset")
    dataset.add_argument("name", choices=known_datasets())
    dataset.add_argument("--budget", type=float, required=True)
    dataset.add_argument("--data", type=Path)
    pool = steps.add_parser("pool")
    pool.add_argument("name", choices=CONTENDERS)
    baseline = steps.add_parser("baseline")
    baseline.add_argument("name", choices=BASELINES)
    for step in (dataset, pool, baseline):
        step.add_argument("--cell", type=Path, required=True, help="the working folder")
        step.add_argument("--seed", type=int, required=True)
    for step in (pool, baseline):
        step.add_argument("--numbers", type=Path, required=True)
        step.add_argument("--rows", type=Path, required=True)
    collect = steps.add_parser("collect")
    collect.add_argument("--work", type=json.loads, required=True)
    for output in ("results", "summary", "page", "gains", "agreement", "curve"):
        collect.add_argument(f"--{output}", type=Path, required=True)
    options = parser.parse_args()
    try:
        _STEPS[options.step](options)
    except ShoalError as error:
        leave([str(error)])


def make_dataset(options: argparse.Namespace) -> None:
    """Write a dataset into its working folder."""
    data = options.data.resolve() if options.data else None
    dataset = dataset_named(options.name)
    write_dataset(dataset, options.budget, options.seed, data, options.cell)


def make_pool(options: argparse.Namespace) -> None:
    """Run the workflow for one contender."""
    from benchmarks.regimes.pools import run_pool

    chosen = overrides(options.name, options.seed)
    run_pool(options.cell, chosen, options.numbers, options.rows)


def make_baseline(options: argparse.Namespace) -> None:
    """Train one baseline and score it on the test rows."""
    import pandas as pd

    from benchmarks.regimes.baselines import TRAINED, Trainer
    from benchmarks.regimes.finished import Finished
    from shoal.formats.ledger import Ledger
    from shoal.training.determinism import deterministic
    from shoal.training.metrics import measure

    deterministic(threads=1)
    pool = read_json(options.cell / "pools" / f"{REFERENCE}.json", dict[str, Any])
    total = pool["ungated"]["train_flops"]
    run = Finished(options.cell, overrides(REFERENCE, options.seed), total)
    ledger = Ledger("baseline")
    answer = TRAINED[options.name](Trainer(run, ledger))
    said, y = run.in_units(answer.predictions), run.in_units(run.test["y"])
    numbers, values = measure(pool["metric"], said, y, run.test["partition"], run.bins)
    cost = {
        "train_flops": ledger.flops or None,
        "inference_flops_per_row": answer.inference_flops,
        "training_seconds": ledger.seconds,
    }
    keys = [key.tobytes() for key in run.test["key"]]
    with replacing(options.rows) as aside:
        pd.DataFrame({"key": keys, "value": values}).to_parquet(aside, index=False)
    write_json(options.numbers, numbers | cost | {"note": answer.note})


def collect_all(options: argparse.Namespace) -> None:
    """Write tables and plots of every cell in the current folder."""
    from benchmarks.regimes.collect import measured, results
    from benchmarks.regimes.page import page
    from benchmarks.regimes.plots import draw
    from benchmarks.regimes.summary import summary

    cells = measured(Path(), Work(**options.work))
    records = results(cells)
    table = summary(cells, records)
    for frame, path in ((records, options.results), (table, options.summary)):
        with replacing(path) as aside:
            frame.to_parquet(aside, index=False)
    with replacing(options.page) as aside:
        aside.write_text(page(table))
    draw(table, options.gains, options.agreement, options.curve)


_STEPS = {
    "dataset": make_dataset,
    "pool": make_pool,
    "baseline": make_baseline,
    "collect": collect_all,
}

if __name__ == "__main__":
    main()
