"""Runs Shoal's own workflow in a working folder and keeps what was measured."""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.regimes.datasets import EXPERIMENT
from shoal.errors import ShoalError
from shoal.formats.documents.index import PartitionIndex
from shoal.formats.files import replacing
from shoal.formats.json_file import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shoal.plan.layout import Layout

RIVALS = ("pool_top1", "pool_top2", "ungated", "generalist", "random_partitions", "constant")
"""What every run of the workflow scores."""


def run_pool(folder: Path, overrides: Sequence[str], numbers: Path, rows: Path) -> None:
    """Make a pool and keep its numbers, test rows and partitions.

    Args:
        folder: The working folder.
        overrides: The contender's settings, the seed among them.
        numbers: Metrics, cost and wall time, as JSON.
        rows: Per row of every fold its key and partition; of test rows also each rival's value
            (1 or 0 for right or wrong, or the squared error).

    Raises:
        ShoalError: The workflow failed; the message names its log.
    """
    start = time.perf_counter()
    _snakemake(folder, overrides)
    seconds = time.perf_counter() - start
    layout = layout_of(folder, overrides)
    index = read_json(folder / layout.index, PartitionIndex)
    metrics = read_json(folder / layout.file("evaluate.metrics", index), dict[str, Any])
    _write_rows(folder, layout, index, metrics["metric"], rows)
    cost = {"workflow_seconds": seconds, "training_seconds": _seconds(folder, layout, index)}
    write_json(numbers, metrics | cost)


def layout_of(folder: Path, overrides: Sequence[str]) -> Layout:
    """Where a contender's files lie; paths are relative to the working folder."""
    from shoal.plan.plan import Plan

    with contextlib.chdir(folder):
        return Plan(EXPERIMENT, list(overrides), Path("config")).layout


def _snakemake(folder: Path, overrides: Sequence[str]) -> None:
    # The benchmark's own lock is enough; one that is left here would end the next run.
    command = ["snakemake", "--cores", "1", "--scheduler", "greedy", "--nolock"]
    config = ["--config", f"experiment={EXPERIMENT}", f"overrides=[{', '.join(overrides)}]"]
    log = folder / "workflow.log"
    with log.open("w") as file:
        result = subprocess.run(
            [*command, *config], cwd=folder, stdout=file, stderr=subprocess.STDOUT, check=False
        )
    if result.returncode:
        raise ShoalError(f"{log}: the workflow ended with exit code {result.returncode}")


def _write_rows(
    folder: Path, layout: Layout, index: PartitionIndex, metric: str, out: Path
) -> None:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    from shoal.partitions.reader import Index

    value = "correct" if metric == "accuracy" else "squared_error"
    predictions = pd.read_parquet(folder / layout.file("evaluate.predictions", index))
    names = {f"{rival}_{value}": rival for rival in RIVALS}
    tested = predictions[["key", "partition", *names]].rename(columns=names)
    others = []
    for fold in ("train", "validation"):
        found = Index(folder / layout.index).everywhere(fold, ("key", "partition"))
        keys = [key.tobytes() for key in found["key"]]
        others.append(pd.DataFrame({"key": keys, "partition": found["partition"]}))
    table = pd.concat([tested.assign(fold="test"), *others], ignore_index=True)
    with replacing(out) as aside:
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), aside)


def _seconds(folder: Path, layout: Layout, index: PartitionIndex) -> float:
    """Time of the jobs whose FLOPs count for the pool."""
    paths = [layout.file(f"{fit}.ledger") for fit in ("embed_fit", "cluster_fit", "base_fit")]
    entries = layout.specialised(index)
    paths += [path for entry in entries for path in layout.search_of(entry).ledgers]
    paths.append(layout.file("train_router.ledger", index))
    return sum(float(read_json(folder / path, dict[str, Any])["seconds"]) for path in paths)
