"""What keeping activations saves and loses: forms, reading against recomputing, sharing, budgets.

    python -m benchmarks.intermediates --work FOLDER --out FOLDER

Runs two experiments on the demo's data in the work folder, unless they are there: the demo itself,
and the model of `intermediates_model.py`, whose specialists share their convolutions. Then prints
four tables and writes each as Parquet:

- forms: bytes of the values' own, errors in units of the layer's standard deviation, and how
  many of the 10 nearest rows in full are among the 10 nearest in the form (200 rows asked for);
- costs: seconds to read and to recompute what one model gives for all rows, measured and as the
  cost model predicts them, and as FLOPs alone would (scaled to agree on the last layer);
- sharing: blocks that models want, and different ones among them;
- budgets: seconds to ask for everything that was requested, once for each model.

Seconds are of the processor, the best of some repetitions: the machine may do other work.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from shoal.explore.intermediates.ask import nearest
from shoal.explore.intermediates.catalogue import Catalogue, Column
from shoal.explore.intermediates.forms import FORMS, as_kept, frame
from shoal.explore.intermediates.keeping import Request, keep
from shoal.explore.intermediates.store import FOLDER, Intermediates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from shoal.explore.intermediates.models import Model
    from shoal.explore.intermediates.rows import Block

ROOT = Path(__file__).parents[1]
PARTS = ("forms", "costs", "sharing", "budgets")
EXPERIMENTS = {
    "demo": ("layers.1", "layers.2", "layers.4"),
    "trunk": ("trunk.1", "trunk.3", "trunk.5", "head.1", "head.2"),
}
TRUNK = """\
# @package _global_
defaults:
  - override /model: convnet
name: trunk
sources:
  folder: data/demo
  files: ["*.parquet"]
  columns: {id: id, image: image, label: label}
model:
  _target_: benchmarks.intermediates_model.FrozenTrunk
  channels: 32
train_specialists:
  rows_seen: 60000
"""
PLENTY = 1 << 40
QUERIES, NEIGHBOURS, REPEATS = 200, 10, 5


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="experiments run here")
    parser.add_argument("--out", type=Path, required=True, help="tables are written here")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    asked = parser.parse_args()
    out = asked.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    set_up(asked.work.absolute())
    os.chdir(asked.work)
    torch.set_num_threads(1)
    work: dict[str, Callable[[str], list[dict[str, Any]]]] = {
        "forms": _forms,
        "costs": _costs,
        "sharing": _sharing,
        "budgets": _budgets,
    }
    for part in asked.parts:
        rows = [{"experiment": name} | row for name in EXPERIMENTS for row in work[part](name)]
        table = pd.DataFrame(rows)
        table.to_parquet(out / f"{part}.parquet")
        print(f"\n{part}\n{table.to_string(index=False, float_format='{:.4g}'.format)}", flush=True)


def set_up(work: Path) -> None:
    """Run the experiments, unless they are there."""
    if not work.exists():
        (work / "config" / "experiment").mkdir(parents=True)
        for name in ("Snakefile", "workflow", "envs", "profiles", "examples", "benchmarks"):
            (work / name).symlink_to(ROOT / name)
        for path in (ROOT / "config").iterdir():
            if path.name != "experiment":
                (work / "config" / path.name).symlink_to(path)
        shutil.copy(ROOT / "config" / "experiment" / "demo.yaml", work / "config" / "experiment")
        (work / "config" / "experiment" / "trunk.yaml").write_text(TRUNK)
        subprocess.run(["shoal", "demo-data", "data/demo"], cwd=work, check=True)
    for name in EXPERIMENTS:
        if not (work / "results" / name / "metrics.json").exists():
            command = ["snakemake", "--cores", "all", "--config", f"experiment={name}"]
            subprocess.run(command, cwd=work, check=True)


def opened(name: str, *, anew: bool = False) -> Intermediates:
    """An experiment's activations.

    Args:
        name: The experiment.
        anew: Whether what is kept is removed first.
    """
    home = Path("results", name)
    if anew:
        shutil.rmtree(home / FOLDER, ignore_errors=True)
    return Intermediates(home, ["benchmarks.intermediates_model"])


def _forms(name: str) -> list[dict[str, Any]]:
    """What each form takes and loses of the base's layers."""
    store = opened(name)
    model = store.models.find("base")
    blocks = model.release.rows.blocks("own")
    places = np.concatenate([block.order for block in blocks])
    order = np.random.default_rng(0).permutation(len(places))[:QUERIES]
    layers = EXPERIMENTS[name]
    given = [values for _, values, _ in store.compute(model, layers, blocks)]
    rows = []
    for layer in layers:
        parts = [values[layer] for values in given]
        full = _flat(parts)
        truth = nearest([(places, full)], full[order], NEIGHBOURS, places[order]).places
        for form in FORMS:
            values = _flat([as_kept(form, part) for part in parts])
            near = nearest([(places, values)], values[order], NEIGHBOURS, places[order]).places
            alike = values.shape == full.shape
            error = np.abs(values - full) / full.std() if alike else np.array([np.nan])
            rows.append(
                {
                    "layer": layer,
                    "units": full.shape[1],
                    "form": form,
                    "of raw": sum(len(frame(form, part)) for part in parts) / full.nbytes,
                    "largest error": float(error.max()),
                    "mean error": float(error.mean()),
                    "overlap@10": _overlap(truth, near),
                }
            )
    return rows


def _flat(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Blocks of values as one array ``(rows, units)``."""
    values = np.concatenate(parts)
    return values.reshape(len(values), -1)


def _overlap(truth: NDArray[np.int64], found: NDArray[np.int64]) -> float:
    """Share of the true neighbours that were found."""
    pairs = zip(truth, found, strict=True)
    return float(np.mean([len(set(a) & set(b)) / len(a) for a, b in pairs]))


def _costs(name: str) -> list[dict[str, Any]]:
    """Reading and recomputing what the base gives for all rows."""
    store = opened(name, anew=True)
    layers = EXPERIMENTS[name]
    requests = [Request("base", layer, "full", "own") for layer in layers]
    keep(store, requests, PLENTY)
    model = store.models.find("base")
    costs, blocks = store.costs(model), model.release.rows.blocks("own")
    rows = sum(map(len, blocks))
    facts, last = store.layers(model), layers[-1]
    store.network(model)
    measured: list[dict[str, Any]] = []
    for layer in layers:
        catalogue = Catalogue(Path("scratch", name, layer))
        column = Column(layer, "full", store.layer(model, layer)[1])
        addresses = store.addresses(model, layer, "full", blocks)
        for block, values, _ in store.compute(model, (layer,), blocks):
            catalogue.add(addresses[block], column, values[layer], PLENTY)
        catalogue.commit(addresses.values())
        size = sum(entry.size for entry in catalogue.entries.values())
        read = _seconds(partial(_read_all, catalogue))
        again = _seconds(partial(_compute_all, store, model, layer, blocks))
        by_rows = costs.recompute(model.architecture, layer, rows)
        measured.append(
            {
                "layer": layer,
                "blocks": len(blocks),
                "MFLOPs a row": facts[layer].flops / 1e6,
                "bytes a row": size / rows,
                "read, µs a row": 1e6 * read / rows,
                "recompute, µs a row": 1e6 * again / rows,
                "recompute / read": again / read,
                "read predicted": costs.read("full", len(blocks), size) / read,
                "recompute predicted": by_rows / again,
            }
        )
    rate = measured[-1]["recompute, µs a row"] / facts[last].flops
    for row in measured:
        row["by FLOPs alone"] = rate * facts[row["layer"]].flops / row["recompute, µs a row"]
    return measured


def _read_all(catalogue: Catalogue) -> None:
    for address in catalogue.entries:
        catalogue.read(address, "")


def _compute_all(store: Intermediates, model: Model, layer: str, blocks: Iterable[Block]) -> None:
    for _ in store.compute(model, (layer,), blocks):
        pass


def _seconds(work: Callable[[], object]) -> float:
    """Processor seconds of some work, the least of some repetitions."""
    found = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def _sharing(name: str) -> list[dict[str, Any]]:
    """Base, generalist and specialists on their own rows."""
    store = opened(name, anew=True)
    requests = [Request("", layer, "full", "own") for layer in EXPERIMENTS[name]]
    rows = keep(store, requests, PLENTY)
    return [
        {
            "layer": row["layer"],
            "blocks wanted": row["wanted"],
            "different": row["distinct"],
            "factor": row["wanted"] / row["distinct"],
            "MB": row["bytes"] / 1e6,
        }
        for row in rows
    ]


def _budgets(name: str) -> list[dict[str, Any]]:
    """Seconds to ask for everything, under budgets that are shares of all of it."""
    store = opened(name, anew=True)
    layers = EXPERIMENTS[name]
    keep(store, [Request("", layer, "full", "own") for layer in layers], PLENTY)
    whole = store.catalogue.size
    rows = []
    for share in (1.0, 0.5, 0.25, 0.1, 0.0):
        kept = keep(opened(name), [], int(share * whole))
        store = opened(name)
        models = store.models.all()
        start = time.process_time()
        for model in models:
            blocks = model.release.rows.blocks("own", model.partition)
            for layer in layers:
                for _ in store.blocks(model, layer, "full", blocks):
                    pass
        rows.append(
            {
                "budget": share,
                "MB": store.catalogue.size / 1e6,
                "seconds": time.process_time() - start,
                "rows read": store.read,
                "rows recomputed": store.recomputed,
                "kept": " ".join(f"{row['kept'] / row['distinct']:.0%}" for row in kept),
            }
        )
    return rows


if __name__ == "__main__":
    main()
