r"""What defaults were chosen on: settings compared on validation rows, never on test rows.

    python -m benchmarks.regimes.development --out build/development \
        --datasets digits_conflicting gauss_8_near_8000 --seeds 2 \
        --vary train_specialists.base_share=0.1,0.3,0.5,0.7 cluster=kmeans embed=pca

Runs the workflow once a dataset, seed and value. Printed: by how much the specialists' mean loss is
below that of the generalist of the same training FLOPs, on the validation rows that the gate
compares, with the standard error over seeds, and what the pool's making cost. Rows that the base
answers count as no gain.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.regimes.datasets import dataset_named, known_datasets, write_dataset
from benchmarks.regimes.pools import layout_of, run_pool
from shoal.errors import ShoalError
from shoal.formats.documents.index import PartitionIndex
from shoal.formats.json_file import read_json
from shoal.terminal import leave

if TYPE_CHECKING:
    from collections.abc import Sequence


class Gain(NamedTuple):
    """Loss of the generalist minus the pool's on validation rows; FLOPs of the pool's making."""

    mean: float
    flops: float


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build", "development"))
    parser.add_argument("--data", type=Path, help="folder of the real datasets")
    parser.add_argument("--datasets", nargs="+", choices=known_datasets(), required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--vary", required=True, help="NAME=VALUE,VALUE,…")
    parser.add_argument("overrides", nargs="*", help="settings of every run")
    options = parser.parse_args()
    name, _, values = options.vary.partition("=")
    try:
        for dataset in options.datasets:
            for value in values.split(","):
                found = [
                    measured(
                        options.out / dataset / str(seed),
                        dataset,
                        seed,
                        options.data,
                        [*options.overrides, f"{name}={value}"],
                    )
                    for seed in range(options.seeds)
                ]
                print(_printed(dataset, f"{name}={value}", found), flush=True)
    except ShoalError as error:
        leave([str(error)])


def measured(
    folder: Path, dataset: str, seed: int, data: Path | None, settings: Sequence[str]
) -> Gain:
    """One run, and its gain on validation rows."""
    if not (folder / "config").exists():
        write_dataset(dataset_named(dataset), 1.0, seed, data.resolve() if data else None, folder)
    chosen = ["packing.devices=1", f"seed={seed}", *settings]
    run_pool(folder, chosen, folder / "numbers.json", folder / "rows.parquet")
    layout = layout_of(folder, chosen)
    index = read_json(folder / layout.index, PartitionIndex)
    gate = read_json(folder / layout.file("gate.gate", index), dict[str, Any])
    flops = read_json(folder / "numbers.json", dict[str, Any])["ungated"]["train_flops"]
    gained = sum(each["rows"] * each["difference"] for each in gate["comparisons"])
    return Gain(gained / gate["rows"], flops)


def _printed(dataset: str, setting: str, found: Sequence[Gain]) -> str:
    """A line of the table: the mean over seeds."""
    means = np.array([each.mean for each in found])
    error = means.std(ddof=1) / np.sqrt(len(means)) if len(means) > 1 else np.nan
    flops = np.mean([each.flops for each in found])
    return f"{dataset:20} {setting:40} {means.mean():+.4f} ± {error:.4f}  {flops:.3g} FLOPs"


if __name__ == "__main__":
    main()
