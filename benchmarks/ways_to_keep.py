"""What it takes to keep the specialists of the demo as snapshots, differences or recipes.

    python -m benchmarks.ways_to_keep --work FOLDER

Runs the demo with hidden layers of several widths, then again after each of some data changes (one
training row gets another label), so that each store has several releases. Then keeps all
specialists in each way in a copy, and recovers each of them: bytes of the store, of these the rows
that recipes are trained from, and seconds of recovery, as predicted from ledgers and as measured.
Each is recovered once by training, or the best of twenty times by reading.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from shoal.archive.kept import Archive
from shoal.archive.recipes import is_rows, recipe_of, recovery_seconds
from shoal.archive.storage import rebase, settle, storage_of
from shoal.demo import write_demo
from shoal.model_store.care import freed_by
from shoal.terminal import say

ROOT = Path(__file__).parents[1]
WAYS = ("snapshot", "delta", "rebased", "recipe", "auto")
READS = 20


def main() -> None:
    """Print a table: a line for each width and way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="runs are kept here")
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 256])
    parser.add_argument("--changes", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60, help="store.recovery_seconds of auto")
    options = parser.parse_args()
    lines = []
    for width in options.widths:
        results = run(options.work / f"width-{width}", width, options.changes)
        for way in WAYS:
            lines.append({"width": width, "way": way} | measured(results, way, options.seconds))
            say(str(lines[-1]))
    table = pd.DataFrame(lines)
    table.to_csv(options.work / "ways.csv", index=False)
    print(table.to_string(index=False))


def run(folder: Path, width: int, changes: int) -> Path:
    """Run the demo in a folder of its own, and after each change; its results."""
    results = folder / "results" / "demo"
    if (folder / "done").exists():
        return results
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("Snakefile", "workflow", "envs", "profiles", "config"):
        (folder / name).symlink_to(ROOT / name)
    paths = write_demo(folder / "data" / "demo")
    for number in range(changes + 1):
        if number:
            change_a_label(paths[number])
        changed = f"model.width={width}, train_specialists.rows_seen=100000, cluster.partitions=4"
        overrides = f"overrides=[{changed}, grid.lr=[0.001,0.003]]"
        command = ["snakemake", "-c", "2", "--scheduler", "greedy", "--quiet"]
        subprocess.run([*command, "--config", overrides], cwd=folder, check=True)
    (folder / "done").touch()
    return results


def change_a_label(path: Path) -> None:
    """Give a source file's first row another label."""
    table = pq.read_table(path)
    labels = table["label"].to_pylist()
    labels[0] = (labels[0] + 1) % 10
    column = pa.array(labels, table.schema.field("label").type)
    place = table.schema.get_field_index("label")
    pq.write_table(table.set_column(place, table.schema.field("label"), column), path)


def measured(results: Path, way: str, seconds: float) -> dict[str, float]:
    """Keep a copy's specialists in a way; what that takes and what recovery costs."""
    copy = results.with_name(f"demo-{way}")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(results, copy)
    kept, expected = Archive(copy), Archive(results)
    specialists = [m for m in kept.models if kept.store.record(m)["kind"] == "specialist"]
    start = time.perf_counter()
    convert(kept, specialists, way, seconds)
    took = time.perf_counter() - start
    store = kept.store
    recipes = [recovery_seconds(store, m) for m in specialists if recipe_of(store, m)]
    times, plain = [], 0
    for model in kept.models:
        original = expected.load(model)
        again, took_it = recovered(kept, model)
        if any(again[name].tobytes() != each.tobytes() for name, each in original.items()):
            raise RuntimeError(f"{model} has other bits")
        plain += sum(each.nbytes for each in original.values())
        times += [took_it] if model in specialists else []
    return {
        "specialists": len(specialists),
        "recipes": len(recipes),
        "plain": plain,
        "bytes": store.bytes,
        "of these rows": freed_by(store, [each for each in store.ids() if is_rows(each)]),
        "converted in": took,
        "recovery": float(np.median(times)),
        "slowest": max(times),
        "predicted": float(np.median(recipes)) if recipes else 0.0,
    }


def convert(kept: Archive, specialists: list[str], way: str, seconds: float) -> None:
    """Keep specialists in a way; they are differences before."""
    if way in ("recipe", "auto"):
        for release in kept.releases:
            models = [each["id"] for each in release["models"]]
            settle(kept, models, seconds if way == "auto" else None)
    elif way == "rebased":
        rebase(kept.store)
    elif way == "snapshot":
        for model in specialists:
            record = kept.store.record(model) | {"keep": "snapshot"}
            kept.store.save({model: kept.load(model)}, records={model: record}, replace=True)
        rebase(kept.store, even_if_larger=True)
    kept.store.collect_garbage()


def recovered(kept: Archive, model: str) -> tuple[dict[str, Any], float]:
    """A model, and the seconds that took: the best of some, or once if it is trained."""
    times = []
    for _ in range(1 if storage_of(kept.store.record(model)) == "recipe" else READS):
        start = time.perf_counter()
        tensors = kept.load(model)
        times.append(time.perf_counter() - start)
    return tensors, min(times)


if __name__ == "__main__":
    main()
