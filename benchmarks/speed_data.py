"""The data's way from source files to grouped, encoded rows beside scikit-learn's.

    python -m benchmarks.speed_data
    python -m benchmarks.speed_data --rows 1000000 10000000 --format parquet

Makes a table of 24 columns (16 numbers, some with gaps, 7 categories, a label) in some files, and
runs every command from ``split_fit`` to ``assign`` on it, each in a process of its own. Beside
them, in a process of its own too, ``pandas`` reads the same files and scikit-learn's
``ColumnTransformer`` encodes them the same way. Seconds are CPU seconds of all threads, without
imports, which are listed apart; memory is the most that any process held.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

FEW = 2_000
NUMBERS, CATEGORIES = 16, 7
LEVELS = (2, 4, 5, 8, 12, 20, 30)
GAPS = {3: 0.05, 7: 0.2, 11: 0.01}
"""Share of missing values, by number of the column."""
RIVAL = "ColumnTransformer"
MODULES = {
    "split_fit": "split.command",
    "split": "split.command",
    "split_check": "split.command",
    "transform_fit": "transform.command",
    "transform": "transform.command",
    "encode_fit": "encode.command",
    "encode": "encode.command",
    "embed_fit": "embed.command",
    "cluster_fit": "cluster.command",
    "assign": "cluster.command",
}
"""Commands in order, with their modules."""
COMPARED = ("split_fit", "split", "transform_fit", "transform", "encode_fit", "encode")
EXPERIMENT = """\
# @package _global_
name: speed
sources:
  folder: {folder}/data
  files: ["*{suffix}"]
  columns: {{label: label}}
"""


class Cost(NamedTuple):
    """What one process took.

    Attributes:
        seconds: CPU seconds without imports.
        imports: CPU seconds of its start and of imports.
        peak: Most memory that it held, bytes.
    """

    seconds: float
    imports: float
    peak: float


def main() -> None:
    """Measure and print, or do one step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--format", choices=["csv", "parquet"], default="csv")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the files go; kept")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--shard", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        do_step(options.step, options.folder, options.shard)
        return
    print(f"command: python -m benchmarks.speed_data {' '.join(sys.argv[1:])}; seed {options.seed}")
    for rows in options.rows:
        folder = Path(options.folder or tempfile.mkdtemp()) / f"{options.format}-{rows}"
        try:
            measure(folder, rows, options)
        finally:
            if options.folder is None:
                shutil.rmtree(folder.parent)


def measure(folder: Path, rows: int, options: argparse.Namespace) -> None:
    """Run all commands and the rival on one table; print a row for each."""
    few = folder.with_name(f"{folder.name}-few")
    for path, count in ((few, FEW), (folder, rows)):
        shutil.rmtree(path, ignore_errors=True)
        write_source(path, count, options)
    size = sum(path.stat().st_size for path in (folder / "data").iterdir())
    print(f"\n{rows:,} rows, {options.shards} {options.format} files, {size / 1e6:.1f} MB\n")
    print("| command | processes | CPU s | imports | peak MB | of the rival's CPU s |")
    print("| --- | --- | --- | --- | --- | --- |")
    rival = run(folder, RIVAL, None)
    row(RIVAL, 1, rival, rival)
    costs: dict[str, Cost] = {}
    for name in MODULES:
        shards = [None] if name.endswith(("fit", "check")) else list(range(options.shards))
        parts = [run(folder, name, shard) for shard in shards]
        costs[name] = total(parts)
        row(name, len(parts), costs[name], rival)
    row("split_fit … encode", 0, total([costs[name] for name in COMPARED]), rival)
    row("all", 0, total(list(costs.values())), rival)
    chain = [folder / name for name in ("split", "transform", "encode", "assign")]
    kept = disk(chain)
    print(f"\ndisk: {kept / 1e6:.1f} MB, {kept / size:.2f} × the source")
    for path in chain:
        print(f"  {path.name}: {disk([path]) / size:.2f} ×")


def disk(folders: Sequence[Path]) -> int:
    """Bytes of all files, a file with several names counted once."""
    stats = [path.stat() for folder in folders for path in folder.iterdir()]
    return sum({stat.st_ino: stat.st_size for stat in stats}.values())


def row(name: str, processes: int, cost: Cost, rival: Cost) -> None:
    """Print one row of the table."""
    ratio = cost.seconds / rival.seconds
    print(
        f"| {name} | {processes or ''} | {cost.seconds:.2f} | {cost.imports:.2f} "
        f"| {cost.peak / 1e6:.0f} | {ratio:.2f} |",
        flush=True,
    )


def total(costs: Sequence[Cost]) -> Cost:
    """Several processes one after another."""
    return Cost(
        sum(cost.seconds for cost in costs),
        sum(cost.imports for cost in costs),
        max(cost.peak for cost in costs),
    )


def run(folder: Path, step: str, shard: int | None) -> Cost:
    """One step in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.speed_data", "--step", step]
    command += ["--folder", str(folder)] + ([] if shard is None else ["--shard", str(shard)])
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(
        command, env=os.environ | one_thread, stdout=subprocess.PIPE, check=True, text=True
    )
    return Cost(*json.loads(done.stdout.splitlines()[-1]))


def write_source(folder: Path, rows: int, options: argparse.Namespace) -> None:
    """The table, in files of equal length."""
    (folder / "data").mkdir(parents=True)
    rng = np.random.default_rng(options.seed)
    for shard in range(options.shards):
        count = rows // options.shards
        columns: dict[str, NDArray[Any]] = {}
        for number in range(NUMBERS):
            values = np.round(rng.normal(number, 1 + number, count), 1 + number % 6)
            values[rng.random(count) < GAPS.get(number, 0.0)] = np.nan
            columns[f"n{number}"] = values
        for number, levels in enumerate(LEVELS):
            codes = np.minimum(rng.geometric(2 / (levels + 1), count), levels)
            names = np.array([f"level {code}" for code in range(levels + 1)], dtype=object)
            columns[f"c{number}"] = names[codes]
        columns["label"] = np.where(columns["n0"] + rng.normal(0, 1, count) > 0, "yes", "no")
        frame = pd.DataFrame(columns)
        path = folder / "data" / f"{shard}.{options.format}"
        if options.format == "csv":
            frame.to_csv(path, index=False)
        else:
            frame.to_parquet(path, index=False)


def do_step(step: str, folder: Path, shard: int | None) -> None:
    """Do one step, on a few rows first so that all is imported, and print its cost."""
    folders = (folder.with_name(f"{folder.name}-few"), folder)
    begun = 0.0
    for each in folders:
        work = rival(each) if step == RIVAL else Chain(each).work(step, shard)
        begun = time.process_time()
        work()
    seconds = time.process_time() - begun
    print(json.dumps(Cost(seconds, begun, peak())))


def peak() -> float:
    """Most memory that this process held, bytes; ``ru_maxrss`` counts the process it came from."""
    status = Path("/proc/self/status").read_text()
    (held,) = re.findall(r"VmHWM:\s+(\d+)", status)
    return 1024.0 * int(held)


def rival(folder: Path) -> Callable[[], None]:
    """Reading by pandas, and scikit-learn's encoding of the same columns to the same features."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    def work() -> None:
        parts = []
        for path in sorted((folder / "data").iterdir()):
            read = pd.read_csv if path.suffix == ".csv" else pd.read_parquet
            parts.append(read(path))
        frame = pd.concat(parts)
        numbers = [f"n{number}" for number in range(NUMBERS)]
        categories = [f"c{number}" for number in range(CATEGORIES)]
        transformer = ColumnTransformer(
            [
                (
                    "numbers",
                    make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()),
                    numbers,
                ),
                (
                    "categories",
                    OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float32),
                    categories,
                ),
            ]
        )
        transformer.fit(frame.iloc[: int(0.7 * len(frame))])
        transformer.transform(frame).astype(np.float32)

    return work


class Chain:
    """Shoal's commands on the table, their files in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sources = sorted((folder / "data").iterdir())
        experiment = folder / "config" / "experiment" / "speed.yaml"
        experiment.parent.mkdir(parents=True, exist_ok=True)
        experiment.write_text(EXPERIMENT.format(folder=folder, suffix=self.sources[0].suffix))

    def work(self, step: str, shard: int | None) -> Callable[[], None]:
        """A step, the settings composed and its module imported."""
        from shoal.settings.compose import compose

        settings = compose(self.folder / "config", "speed", [])
        command = getattr(import_module(f"shoal.{MODULES[step]}"), step)
        values = self._files(step, "0" if shard is None else str(shard)) | {
            "settings": getattr(settings, step.split("_", maxsplit=1)[0], None),
            "sources": settings.sources,
            "split": settings.split,
            "batch_rows": settings.sources.batch_rows,
            "compute": settings.compute,
            "content": "benchmark",
            "shard": None if step == "split" else str(shard),
            "planned": None,
            "threads": 1,
            "checkpoint_seconds": 60.0,
            "memory": settings.compute.memory,
        }
        wanted = inspect.signature(command).parameters
        return lambda: command(**{name: values[name] for name in wanted})

    def _files(self, step: str, shard: str) -> dict[str, object]:
        """Parameters of the commands that are files."""
        fit, all_shards = self.folder / "fit", [str(n) for n in range(len(self.sources))]

        def of(stage: str, suffix: str) -> list[Path]:
            (self.folder / stage).mkdir(exist_ok=True)
            return [self.folder / stage / f"{name}{suffix}" for name in all_shards]

        fit.mkdir(exist_ok=True)
        place = int(shard)
        tables = of(
            "transform" if step.startswith(("encode", "cluster", "assign")) else "split", ".parquet"
        )
        stores = {stage: of(stage, ".zarr.zip") for stage in ("encode", "assign")}
        outputs = {
            "split_fit": fit / "folds.safetensors",
            "split": tables[place],
            "split_check": fit / "check.json",
            "transform_fit": fit / "state.json",
            "transform": self.folder / "transform" / f"{shard}.parquet",
            "encode_fit": fit / "encoder",
            "encode": stores["encode"][place],
            "embed_fit": fit / "embedder",
            "cluster_fit": fit / "assigner",
        }
        of("transform", ".parquet")
        fits = step.endswith("_fit")
        return {
            "out": outputs.get(step),
            "source": self.sources[place],
            "columns": fit / "columns.json",
            "columns_out": fit / "columns.json",
            "folds": fit / "folds.safetensors",
            "folds_out": fit / "folds.safetensors",
            "by_source": dict(zip(map(str, self.sources), tables, strict=True)),
            "shards": dict(zip(all_shards, tables, strict=True)),
            "table": tables[place],
            "tables": tables,
            "state": fit / "state.json",
            "encoder_path": fit / "encoder",
            "shapes_out": fit / "shapes.json",
            "shapes_path": fit / "shapes.json",
            "ledger_out": fit / f"{step}.json",
            "rows": stores["encode"] if fits else stores["encode"][place],
            "embedder_path": fit / "embedder",
            "assigner_path": fit / "assigner",
            "rows_out": stores["assign"][place],
            "facts_out": of("split", ".facts.safetensors")[place],
            "facts": of("split", ".facts.safetensors"),
            "sample_out": of("split", ".sample.parquet")[place],
            "samples": of("split", ".sample.parquet"),
            "distances_out": of("assign", ".distances.safetensors")[place],
            "summary_out": fit / f"summary-{shard}.json",
        }


if __name__ == "__main__":
    main()
