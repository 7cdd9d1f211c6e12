"""A small pool, put together without training and without a workflow."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shoal.cluster.assigner import AtomAssigner
from shoal.cluster.merge import Bounds
from shoal.embed.embedder import IdentityEmbedder
from shoal.encode.encoder import Encoder
from shoal.formats.fitted_state import save_state
from shoal.formats.hashing import file_hash
from shoal.formats.json_file import write_json
from shoal.formats.ledger import Ledger
from shoal.formats.shapes import Shapes
from shoal.formats.tables import Columns, Table, write_table
from shoal.pool.command import pool
from shoal.settings.data import Encode, Transform
from shoal.settings.learning import Model
from shoal.train_router.router import ByDistance, Router
from shoal.training.model import build_model, weights
from shoal.transform.pipeline import fit_pipeline
from tests.documents import gate_record, partition_entry, partition_index

MODEL: dict[str, object] = {
    "_target_": "shoal.models.MLP",
    "features": "data:features",
    "outputs": "data:outputs",
    "width": 3,
    "depth": 1,
}
COLUMNS = Columns(
    {"a": "numeric", "town": "categorical", "label": "label"}, "classification", {}, {}, {}
)
STEPS = [
    {"step": "impute", "columns": ["a"], "options": {"strategy": "mean"}},
    {"step": "clip", "columns": ["a"], "options": {"low": -9}},
]
ENCODERS = {"numeric": {"encoder": "scale"}, "categorical": {"encoder": "one_hot"}}


def _rows(folder: Path, columns: Columns) -> Table:
    label: list[object] = [1.0, 2.0, 5.0, 8.0]
    if columns.task == "classification":
        label = ["no", "yes", "no", "yes"]
    values = {
        "a": [0.0, 1.0, 10.0, 11.0],
        "town": ["x", "x", "y", "y"],
        **dict.fromkeys(columns.labels, label),
        "_key": [bytes([number]) * 16 for number in range(4)],
        "_fold": [0] * 4,
        "_source": [bytes([number]) * 16 for number in range(4)],
    }
    table = pa.table(values, schema=columns.schema())
    write_table(folder / "rows.parquet", table.schema, [table], {"rows_in": 4, "dropped": {}})
    return Table(folder / "rows.parquet")


def _fits(folder: Path, columns: Columns, model: dict[str, object]) -> dict[str, Path]:
    """Fitted state of a table with one number and one category; by name in the pool."""
    shards = {"s": _rows(folder, columns)}
    columns.save(folder / "columns.json")
    transform = Transform.model_validate({"steps": STEPS, "fit_rows": 99, "seed": 0})
    write_json(folder / "transform.json", fit_pipeline(transform, columns, shards).state())
    settings = Encode.model_validate({"kinds": ENCODERS, "columns": {}, "fit_rows": 99, "seed": 0})
    encoder = Encoder.fit(settings, columns, shards)
    shapes = Shapes(
        list(encoder.x_shape),
        encoder.outputs,
        encoder.task,
        encoder.classes,
        encoder.training_rows,
        encoder.feature_names,
        encoder.save(folder / "encoder.safetensors"),
    )
    shapes.save(folder / "shapes.json")
    save_state(folder / "embedder.safetensors", *IdentityEmbedder(shapes.x_shape).state())
    numbers = np.arange(2, dtype=np.int32)
    centres = np.array([[-1.0, 1, 0], [1.0, 0, 1]], np.float32)
    assigner = AtomAssigner(centres, numbers, numbers, Bounds(1, 4), 4)
    router = Router(assigner, (0, 1), "nearest_atom", ByDistance(1.0), 1, 1.0, np.inf, 0.0)
    save_state(folder / "router.safetensors", *router.state())
    budget = {"budget": {"rows_seen": 9, "base_share": 0.5, "training_rows": 4}, "model": model}
    _save(folder / "base.safetensors", shapes, budget, model)
    gate = gate_record({-1: 0.0, 0: 1.0, 1: 0.0}) | Ledger("gate").record()
    write_json(folder / "gate.json", gate)
    _save(
        folder / "generalist.safetensors",
        shapes,
        {"point": {}, "trained_on": {"fit": "ab"}, "rows": {"train": 4}},
        model,
    )
    return {path.name: path for path in folder.iterdir() if path.suffix != ".parquet"}


def _save(
    path: Path,
    shapes: Shapes,
    meta: dict[str, object],
    model: dict[str, object],
    seed: int = 0,
) -> Path:
    """A model's weights."""
    save_state(path, weights(build_model(Model.model_validate(model), shapes, seed)), meta)
    return path


def build_pool(folder: Path, columns: Columns = COLUMNS, model: dict[str, object] = MODEL) -> Path:
    """A pool of two specialists in ``folder/pool``."""
    fits = folder / "fits"
    fits.mkdir()
    state = _fits(fits, columns, model)
    shapes = Shapes.load(state["shapes.json"])
    generalist = state.pop("generalist.safetensors")
    choices, specialists = [], []
    for partition in (0, 1):
        facts = {"digest": f"d{partition}", "point": {"lr": 0.1}, "rows": 2}
        specialist = fits / f"{partition}.safetensors"
        specialists.append(_save(specialist, shapes, facts, model, partition))
        choices.append(fits / f"choice-{partition}.json")
        digests = {"train": f"d{partition}", "validation": "v"}
        chosen = {"partition": partition, "specialist": specialist.name, "point": "p"}
        measured = {
            "digests": digests,
            "rows": 1,
            "points": {},
            "losses": {},
            "margin": None,
            "next": [],
        }
        write_json(choices[-1], chosen | measured)
    Ledger("base_fit").write(fits / "ledger.json")
    entries = [partition_entry(number, specialist="d") for number in (0, 1)]
    root = {"all": "", "fit": "ab", "train": ""}
    write_json(fits / "index.json", partition_index(*entries, root=root))
    pool(
        {"name": "tiny", "generation": 1, "cluster": {"route_by": None}, "model": model},
        **{name.partition(".")[0]: path for name, path in state.items()},
        generalist=generalist,
        choices=choices,
        specialists=specialists,
        index_path=fits / "index.json",
        ledgers=[fits / "ledger.json"],
        failures=[],
        manifest_out=folder / "pool" / "manifest.json",
    )
    return folder / "pool"


@pytest.fixture(scope="session")
def built_pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool to read."""
    return build_pool(tmp_path_factory.mktemp("pool"))


@pytest.fixture
def small_pool(built_pool: Path, tmp_path: Path) -> Path:
    """A pool to change."""
    import shutil

    return Path(shutil.copytree(built_pool, tmp_path / "pool"))


def reseal(folder: Path, **changes: object) -> None:
    """Write a manifest that fits the files, with some of its entries changed."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    files = {name: file_hash(folder / name) for name in manifest["files"]}
    write_json(path, manifest | {"files": files} | changes)
