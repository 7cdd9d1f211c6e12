"""How fast a pool predicts, and what fitting around the models takes.

python -m benchmarks.speed_predict
"""

from __future__ import annotations

import os

from shoal.training.determinism import VARIABLE, usual_kernels

os.environ.setdefault(VARIABLE, usual_kernels())  # before torch is imported

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from shoal.cluster.assigner import AtomAssigner
from shoal.cluster.fit import kmeans_atoms
from shoal.cluster.merge import Bounds
from shoal.embed.pca import fit_pca
from shoal.encode.encoder import Encoder
from shoal.formats.fitted_state import save_state
from shoal.formats.json_file import write_json
from shoal.formats.ledger import Ledger
from shoal.formats.row_store import RowArray, write_rows
from shoal.formats.shapes import Shapes
from shoal.formats.tables import Columns, Table, write_table
from shoal.pool.command import pool
from shoal.settings.data import Encode
from shoal.settings.learning import Model
from shoal.train_router.router import ByDistance, Router
from shoal.training.model import build_model, weights
from tests.documents import partition_entry, partition_index

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
        encoder.save(fits / "encoder.skops"),
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

    def save(name: str, seed: int, meta: dict[str, Any]) -> Path:
        net = build_model(Model.model_validate(MODEL), shapes, seed)
        save_state(fits / name, weights(net), meta)
        return fits / name

    budget = {"rows_seen": 9, "base_share": 0.5, "training_rows": FITTED}
    base = save("base.safetensors", 0, {"budget": budget, "model": MODEL})
    facts = {"trained_on": {"fit": "ab"}, "rows": {"train": FITTED}}
    generalist = save("generalist.safetensors", 0, {"point": {}, **facts})
    gate = {"closed": [], "validation": {"pool": 1.0}, "rows": 4, "comparisons": []}
    write_json(fits / "gate.json", gate | Ledger("gate").record())
    choices, specialists = [], []
    for number in trained:
        own = {"digest": f"d{number}", "point": {"lr": 0.1}, "rows": 2}
        specialists.append(save(f"{number}.safetensors", number, own))
        choices.append(fits / f"choice-{number}.json")
        chosen = {"partition": number, "specialist": specialists[-1].name, "point": "p"}
        measured = {"rows": 1, "points": {}, "losses": {}, "margin": None, "next": []}
        digests = {"train": f"d{number}", "validation": "v"}
        write_json(choices[-1], chosen | measured | {"digests": digests})
    Ledger("base_fit").write(fits / "ledger.json")
    entries = [partition_entry(number, specialist="d") for number in trained]
    root = {"all": "", "fit": "ab", "train": ""}
    write_json(fits / "index.json", partition_index(*entries, root=root))
    pool(
        {"name": "speed", "generation": 1, "model": MODEL},
        fits / "columns.json",
        fits / "transform.json",
        fits / "encoder.skops",
        fits / "shapes.json",
        fits / "embedder.safetensors",
        fits / "router.safetensors",
        base,
        fits / "gate.json",
        generalist,
        choices,
        specialists,
        fits / "index.json",
        [fits / "ledger.json"],
        [],
        folder / "pool" / "manifest.json",
    )
    return folder / "pool"
