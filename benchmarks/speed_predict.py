"""How fast a pool predicts, and what fits around the models take, each beside its rival.

    python -m benchmarks.speed_predict

One thread; seconds of the processor, the least of several runs, taken in turns. Predictions are
compared with those of each row alone.
"""

# ruff: noqa: E402 - threads and kernels are chosen before numpy and torch are imported

from __future__ import annotations

import os

from shoal.training.determinism import VARIABLE, usual_kernels

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
os.environ.setdefault(VARIABLE, usual_kernels())  # before torch is imported

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from sklearn.decomposition import PCA

from shoal.cluster.assigner import AtomAssigner
from shoal.cluster.fit import kmeans_atoms
from shoal.cluster.merge import Bounds
from shoal.embed.pca import fit_pca
from shoal.embed.rows import training_rows
from shoal.encode.encoder import Encoder
from shoal.formats.fitted_state import save_state
from shoal.formats.json_file import write_json
from shoal.formats.kinds import TRAIN, VALIDATION
from shoal.formats.ledger import Ledger
from shoal.formats.row_store import RowArray, ShardRows, write_rows
from shoal.formats.shapes import Shapes
from shoal.formats.tables import Columns, Table, write_table
from shoal.partitions.random_partitions import (
    BASELINE_ROWS,
    RandomRows,
    in_canonical_order,
    random_bounds,
    random_draw,
)
from shoal.pool.command import pool
from shoal.pool.pool import Pool
from shoal.settings.data import Encode
from shoal.settings.learning import Model
from shoal.sources.columns import typed_inputs
from shoal.train_router.router import Router
from shoal.training.flops import forward_flops
from shoal.training.model import build_model, predict, weights
from shoal_edge.routing import ByDistance
from tests.documents import partition_entry, partition_index

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

NUMBERS, CATEGORIES, CLASSES = 16, 8, 4
ATOMS, DIMS, FITTED = 256, 16, 20_000
MODEL = {
    "_target_": "shoal.models.MLP",
    "features": "data:features",
    "outputs": "data:outputs",
    "width": 32,
    "depth": 2,
}
KINDS = {f"number_{n}": "numeric" for n in range(NUMBERS)}
KINDS |= {f"category_{n}": "categorical" for n in range(CATEGORIES)}
COLUMNS = Columns(KINDS | {"label": "label"}, "classification", {}, {}, {})


def table(rows: int, seed: int) -> pa.Table:
    """Rows of 24 columns: numbers around 16 centres, and categories of 10 values."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(16, NUMBERS)) * 2
    home = rng.integers(0, len(centres), rows)
    numbers = centres[home] + rng.normal(size=(rows, NUMBERS))
    names = np.array([f"value {n}" for n in range(10)], dtype=object)
    picked = (home[:, None] + rng.integers(0, 5, (rows, CATEGORIES))) % 10
    columns = {f"number_{n}": pa.array(numbers[:, n]) for n in range(NUMBERS)}
    columns |= {f"category_{n}": pa.array(names[picked[:, n]]) for n in range(CATEGORIES)}
    return pa.table(columns)


def make_pool(folder: Path, partitions: int) -> Path:
    """A pool whose specialists have weights at random, which take as long as trained ones."""
    fits = folder / "fits"
    fits.mkdir(parents=True)
    shapes = _fits(fits, partitions)
    choices, specialists = [], []
    for number in range(partitions):
        own = {"digest": f"d{number}", "point": {"lr": 0.1}, "rows": 2}
        specialists.append(_model(fits / f"{number}.safetensors", shapes, number, own))
        choices.append(fits / f"choice-{number}.json")
        chosen = {"partition": number, "specialist": specialists[-1].name, "point": "p"}
        measured = {"rows": 1, "points": {}, "losses": {}, "margin": None, "next": []}
        digests = {"train": f"d{number}", "validation": "v"}
        write_json(choices[-1], chosen | measured | {"digests": digests})
    entries = [partition_entry(number, specialist="d") for number in range(partitions)]
    root = {"all": "", "fit": "ab", "train": ""}
    write_json(fits / "index.json", partition_index(*entries, root=root))
    pool(
        {"name": "speed", "generation": 1, "model": MODEL},
        fits / "columns.json",
        fits / "transform.json",
        fits / "encoder.safetensors",
        fits / "shapes.json",
        fits / "embedder.safetensors",
        fits / "router.safetensors",
        fits / "base.safetensors",
        fits / "gate.json",
        fits / "generalist.safetensors",
        choices,
        specialists,
        fits / "index.json",
        [fits / "ledger.json"],
        [],
        folder / "pool" / "manifest.json",
    )
    return folder / "pool"


def _model(path: Path, shapes: Shapes, seed: int, facts: dict[str, Any]) -> Path:
    save_state(path, weights(build_model(Model.model_validate(MODEL), shapes, seed)), facts)
    return path


def _fits(fits: Path, partitions: int) -> Shapes:
    """Write fitted state, base and generalist."""
    rows = table(FITTED, 1)
    keys = np.random.default_rng(2).integers(0, 256, (FITTED, 16), dtype=np.uint8)
    extra = {
        "label": pa.array([f"class {n % CLASSES}" for n in range(FITTED)]),
        "_key": pa.array([key.tobytes() for key in keys]),
        "_fold": pa.array(np.zeros(FITTED, np.uint8)),
        "_source": pa.array([key.tobytes() for key in keys]),
    }
    for name, values in extra.items():
        rows = rows.append_column(name, values)
    rows = rows.select(COLUMNS.schema().names).cast(COLUMNS.schema())
    write_table(fits / "rows.parquet", rows.schema, [rows], {"rows_in": FITTED, "dropped": {}})
    COLUMNS.save(fits / "columns.json")
    write_json(fits / "transform.json", {"steps": []})
    kinds = {"numeric": {"encoder": "scale"}, "categorical": {"encoder": "one_hot"}}
    settings = Encode.model_validate({"kinds": kinds, "columns": {}, "fit_rows": 99999, "seed": 0})
    encoder = Encoder.fit(settings, COLUMNS, {"s": Table(fits / "rows.parquet")})
    shapes = Shapes(
        list(encoder.x_shape),
        encoder.outputs,
        encoder.task,
        encoder.classes,
        FITTED,
        encoder.feature_names,
        encoder.save(fits / "encoder.safetensors"),
    )
    shapes.save(fits / "shapes.json")
    x = encoder.encode(rows)
    arrays = {"x": x, "fold": np.zeros(FITTED, np.uint8)}
    specs = {name: RowArray(array.shape[1:], str(array.dtype)) for name, array in arrays.items()}
    write_rows(fits / "rows.zarr.zip", FITTED, specs, [arrays], {})
    embedder = fit_pca(DIMS, [fits / "rows.zarr.zip"], x.shape[1:], Ledger("embed_fit"))
    save_state(fits / "embedder.safetensors", *embedder.state())
    prototypes = kmeans_atoms(embedder.embed(x), ATOMS, 0).prototypes
    order = np.argsort(prototypes[:, 0])
    owner = np.empty(len(order), np.int32)
    owner[order] = np.arange(len(order)) * partitions // len(order)
    numbers = np.arange(len(order), dtype=np.int32)
    assigner = AtomAssigner(prototypes, numbers, owner, Bounds(1, FITTED), FITTED)
    trained = tuple(range(partitions))
    router = Router(assigner, trained, "nearest_atom", ByDistance(1.0), 1, 1.0, np.inf, 0.0)
    save_state(fits / "router.safetensors", *router.state())

    budget = {"rows_seen": 9, "base_share": 0.5, "training_rows": FITTED}
    _model(fits / "base.safetensors", shapes, 0, {"budget": budget, "model": MODEL})
    facts = {"point": {}, "trained_on": {"fit": "ab"}, "rows": {"train": FITTED}}
    _model(fits / "generalist.safetensors", shapes, 0, facts)
    test = {"share": 1.0, "gain": 0.1, "error": 0.01, "opens": True}
    counts = {"rows": 4, "units": 4, "least_units": 5, "comparisons": [], "test": test}
    shares = {str(number): 1.0 for number in (-1, *trained)}
    gate = {"shares": shares, "softness": None, "validation": {"pool": 1.0}} | counts
    write_json(fits / "gate.json", gate | Ledger("gate").record())
    Ledger("base_fit").write(fits / "ledger.json")
    return shapes


def seconds(*work: Callable[[], object], runs: int = 5) -> list[float]:
    """The least seconds of the processor that each takes, in turns."""
    least = [float("inf")] * len(work)
    for _ in range(runs):
        for place, each in enumerate(work):
            begin = time.process_time()
            each()
            least[place] = min(least[place], time.process_time() - begin)
    return least


def prediction(folder: Path, partitions: int, rows: int) -> None:
    """Rows of a table: predicted, and given to the generalist; parts; one row."""
    loaded = Pool.load(make_pool(folder, partitions))
    source = table(rows, 7)
    typed = typed_inputs(source, loaded.columns, "input")
    x = loaded.encoder.encode(typed)
    embedding = loaded.embedder.embed(x)
    routes = loaded.router.route(embedding, None, 1)
    net = loaded.experts.models[-1]
    whole, *parts, blocks, forward = seconds(
        lambda: loaded.predict(source, top_k=1),
        lambda: typed_inputs(source, loaded.columns, "input"),
        lambda: loaded.encoder.encode(typed),
        lambda: loaded.embedder.embed(x),
        lambda: loaded.router.route(embedding, None, 1),
        lambda: loaded.experts.mix(x, routes.experts, routes.weights),
        lambda: predict(net, x, "classification"),
        lambda: _forward(net, x),
    )
    print(f"\n{rows:,} rows of 24 columns, {x.shape[1]} features, {partitions} partitions, top 1")
    print(f"  predict: {rows / whole / 1e3:.0f}k rows/s")
    names = ("types", "encoding", "embedding", "routing", "specialists")
    print("  " + ", ".join(f"{n} {s / whole:.0%}" for n, s in zip(names, parts, strict=True)))
    print(
        f"  the generalist alone on encoded rows: {rows / blocks / 1e3:.0f}k rows/s in blocks, "
        f"{rows / forward / 1e3:.0f}k in one batch; specialists take {parts[4] / blocks:.2f} times"
    )
    router = loaded.embedder.flops_per_row + loaded.router.flops_per_row
    share = router / (router + forward_flops(net, torch.zeros(1, x.shape[1])))
    spent_there = (parts[2] + parts[3]) / whole
    print(f"  embedding and routing: {spent_there:.0%} of time, {share:.0%} of FLOPs")
    together = loaded.predict(source, top_k=1)
    alone, spent = [], []
    for row in range(0, rows, max(1, rows // 200)):
        begin = time.process_time()
        alone.append((row, loaded.predict(source.slice(row, 1), top_k=1)))
        spent.append(time.process_time() - begin)
    same = sum(together.slice(row, 1).equals(given) for row, given in alone)
    middle = 1e3 * float(np.median(spent))
    print(f"  one row: median {middle:.2f} ms; {same} of {len(alone)} as in all")


def _forward(net: torch.nn.Module, x: NDArray[np.float32]) -> torch.Tensor:
    with torch.no_grad():
        return torch.softmax(net(torch.from_numpy(x)), dim=1)


def fits(folder: Path, rows: int, features: int, partitions: int) -> None:
    """PCA beside scikit-learn's, rows of random partitions beside two passes for each."""
    rng = np.random.default_rng(0)
    arrays = {
        "x": rng.normal(size=(rows, features)).astype(np.float32),
        "y": rng.integers(0, 3, rows),
        "key": rng.integers(0, 256, (rows, 16), dtype=np.uint8),
        "hash": rng.integers(0, 256, (rows, 32), dtype=np.uint8),
        "fold": (rng.random(rows) > 0.7).astype(np.uint8),
    }
    specs = {name: RowArray(array.shape[1:], str(array.dtype)) for name, array in arrays.items()}
    paths = [folder / "rows.zarr.zip"]
    write_rows(paths[0], rows, specs, [arrays], {})
    training = arrays["x"][arrays["fold"] == TRAIN]
    read, ours, theirs = seconds(
        lambda: sum(len(block["x"]) for block in training_rows(paths, ("x",), Ledger("t"))),
        lambda: fit_pca(DIMS, paths, (features,), Ledger("t")),
        lambda: PCA(DIMS, svd_solver="covariance_eigh").fit(training.astype(np.float64)),
        runs=3,
    )
    print(f"\nPCA of {len(training):,} rows of {features} features")
    print(f"  {ours:.2f} s, of which reading {read:.2f}; scikit-learn in memory {theirs:.2f}")
    bounds = random_bounds([1] * partitions)
    once, twice = seconds(
        lambda: _once(paths, bounds, folder), lambda: _twice(paths, bounds), runs=1
    )
    print(f"rows of {partitions} random partitions: {once:.2f} s; two passes for each {twice:.2f}")


def _once(paths: list[Path], bounds: list[tuple[float, float]], folder: Path) -> None:
    with RandomRows(paths, bounds, 0, folder) as drawn:
        for number in range(len(bounds)):
            for fold in (TRAIN, VALIDATION):
                drawn.rows(number, fold)


def _twice(paths: list[Path], bounds: list[tuple[float, float]]) -> None:
    """As it was done before: each partition's rows of each fold by a pass over all."""
    for low, high in bounds:
        for fold in (TRAIN, VALIDATION):
            parts = []
            for path in paths:
                with ShardRows(path) as shard:
                    for block in shard.blocks(shard.names((*BASELINE_ROWS, "fold"))):
                        draw = random_draw(block["key"], 0)
                        inside = (block["fold"] == fold) & (low <= draw) & (draw < high)
                        parts.append({name: array[inside] for name, array in block.items()})
            in_canonical_order({n: np.concatenate([p[n] for p in parts]) for n in parts[0]})


def nearest(rows: int) -> None:
    """The nearest of 256 atoms: exactly, by all distances in float64, and by torch's argmin."""
    rng = np.random.default_rng(0)
    atoms = rng.normal(size=(ATOMS, DIMS)).astype(np.float32)
    x = (atoms[rng.integers(0, ATOMS, rows)] + rng.normal(size=(rows, DIMS))).astype(np.float32)
    numbers = np.arange(ATOMS, dtype=np.int32)
    assigner = AtomAssigner(atoms, numbers, numbers // 32, Bounds(1, rows), rows)
    exact, plain, other = seconds(
        lambda: assigner.nearest(x),
        lambda: _by_numpy(x, atoms),
        lambda: torch.cdist(torch.from_numpy(x), torch.from_numpy(atoms)).argmin(dim=1),
        runs=3,
    )
    print(
        f"\nnearest of {ATOMS} atoms, {rows:,} rows of {DIMS}: {exact:.3f} s with exact distances; "
        f"float64 and numpy's argmin {plain:.3f}, torch's cdist and argmin {other:.3f}"
    )


def _by_numpy(x: NDArray[np.float32], atoms: NDArray[np.float32]) -> None:
    norms = (atoms.astype(np.float64) ** 2).sum(axis=1)
    for start in range(0, len(x), 256):
        (x[start : start + 256].astype(np.float64) @ (-2.0 * atoms.T) + norms).argmin(axis=1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="rows to predict")
    parser.add_argument("--stored", type=int, default=200_000, help="rows to fit on")
    options = parser.parse_args()
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    with tempfile.TemporaryDirectory() as scratch:
        for partitions in (8, 64):
            prediction(Path(scratch, str(partitions)), partitions, options.rows)
        nearest(options.rows)
        fits(Path(scratch), options.stored, 105, 8)


if __name__ == "__main__":
    main()
