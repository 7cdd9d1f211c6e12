"""Baselines: how the best of their grid points is chosen, and trained side by side."""

from __future__ import annotations

import tracemalloc
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from shoal.evaluate.baselines import Baselines, Search
from shoal.evaluate.command import evaluate_random
from shoal.formats.fitted_state import load_state
from shoal.formats.hashing import KEY_BYTES, ROW_HASH_BYTES, hash_rows
from shoal.formats.json_file import read_json
from shoal.formats.kinds import TRAIN, VALIDATION
from shoal.formats.ledger import Ledger
from shoal.formats.row_store import RowArray, write_rows
from shoal.formats.shapes import Shapes
from shoal.search.steps import Steps
from shoal.settings.compose import compose
from shoal.settings.learning import Model, Training
from shoal.settings.search import GridSampling, Halving
from shoal.settings.section import parse
from shoal.training import lanes
from shoal.training.model import build_model, weights
from shoal.training.resume import Checkpoints
from tests.documents import plain_steps
from tests.trainings import TRAINING as SMALL

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONFIG = Path(__file__).parents[2] / "config"
WIDTH, ROWS = 64, 60_000
SHAPES = Shapes([WIDTH], 2, "classification", ["no", "yes"], 1, [], [])
MODEL = Model.model_validate(
    {"_target_": "shoal.models.MLP", "features": WIDTH, "outputs": 2, "width": 4, "depth": 1}
)
TRAINING = Training(
    loss="auto",
    class_weights=None,
    lr=0.01,
    weight_decay=0.0,
    epsilon=1e-8,
    batch_size=32,
    rows_seen=1,
    schedule="cosine",
    warm_up=0.0,
    epochs=None,
    flops=None,
    patience=None,
    base_share=0.5,
    buffer_rows=32,
    seed=0,
)
GRID = {"slow": {"lr": 1e-6}, "middle": {"lr": 0.01}, "wild": {"lr": 10.0}}


def rows(count: int) -> dict[str, NDArray]:
    """One in ten for training, the others for validation."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, WIDTH)).astype(np.float32)
    y = (x[:, :3].sum(axis=1) > 0).astype(np.int64)
    fold = np.where(np.arange(count) % 10, VALIDATION, TRAIN).astype(np.uint8)
    key = hash_rows({"x": x}, KEY_BYTES)
    return {"x": x, "y": y, "key": key, "hash": hash_rows({"x": x}, ROW_HASH_BYTES), "fold": fold}


def shards(folder: Path, arrays: dict[str, NDArray], cuts: list[int]) -> list[Path]:
    """The rows in shards."""
    paths = []
    for number, places in enumerate(np.split(np.arange(len(arrays["y"])), cuts)):
        part = {name: array[places] for name, array in arrays.items()}
        specs = {name: RowArray(array.shape[1:], str(array.dtype)) for name, array in part.items()}
        paths.append(folder / f"{len(cuts)}-{number}.zarr.zip")
        write_rows(paths[-1], len(places), specs, [part], {})
    return paths


def baselines(paths: list[Path], folder: Path, ledger: Ledger) -> Baselines:
    """Of a grid of three learning rates."""
    steps = Steps(
        {"lr": [point["lr"] for point in GRID.values()]},
        GridSampling(sampler="sobol", samples=None, batch=1, seed=0),
        Halving(rungs=1, reduction_factor=2),
    )
    base = weights(build_model(MODEL, SHAPES, 1))
    checkpoints = Checkpoints(folder / "out", 1e9, ledger, {})
    search = partial(Search, MODEL, TRAINING, GRID, steps, SHAPES, base)
    return Baselines(search, TRAINING, paths, checkpoints)


def test_the_generalist_is_chosen_without_holding_the_validation_rows(tmp_path: Path) -> None:
    """Of 54,000 rows that take 14 MB, less than a third is held at any time."""
    arrays = rows(ROWS)
    paths, ledger = shards(tmp_path, arrays, [4000, 40_000]), Ledger("test")
    chosen = baselines(paths, tmp_path, ledger)
    held = arrays["x"].nbytes * 9 // 10
    del arrays

    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    trained, point = chosen.generalist(3 * 60 * 50_000, ledger)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()

    assert point == GRID["middle"]
    assert trained.keys() == weights(build_model(MODEL, SHAPES, 1)).keys()
    assert peak < 0.3 * held


@pytest.mark.parametrize("patience", [None, 2.0])
def test_random_partitions_in_lanes_have_the_bits_of_one_after_the_other(
    patience: float | None, finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Weights, points and account, the learning curves' order included; early stopping or not."""
    made = finished.generation
    (base,), (index,) = (
        made.glob("base/*/base.safetensors"),
        made.glob("cluster/*/indexes/*/*.json"),
    )
    model = parse(Model, load_state(base)[1]["model"], "model")
    points = {str(number): {"lr": lr} for number, lr in enumerate((0.001, 0.003, 0.01))}
    stepped: list[int] = []
    original = lanes._Program.step
    monkeypatch.setattr(
        lanes._Program, "step", lambda self: (stepped.append(len(self.live)), original(self))
    )

    def trained(fewest: int) -> tuple[bytes, dict[str, Any]]:
        monkeypatch.setattr(lanes, "FEWEST", fewest)
        out, ledger = tmp_path / "random.safetensors", tmp_path / "random.json"
        evaluate_random(
            model,
            SMALL.model_copy(update={"batch_size": 32, "patience": patience}),
            points,
            plain_steps(),
            compose(CONFIG, "demo", []).evaluate,
            sorted(made.glob("encode/*/rows/*/*.zarr.zip")),
            index,
            base,
            next(made.glob("encode/*/shapes.json")),
            (),
            next(made.glob("split/*/columns.json")),
            out,
            tmp_path / "usual.safetensors",
            ledger,
            next(made.glob("base/*/ledger.json")),
            1,
            60,
        )
        return out.read_bytes(), read_json(ledger, Any)

    alone, own = trained(fewest=100)
    assert stepped == []
    together, shared = trained(fewest=2)

    assert max(stepped) == 6
    assert together == alone
    for name in ("flops", "rows_seen", "unspent", "detail"):
        assert shared[name] == own[name]
    assert ("validation" in own["detail"]) == (patience is not None)
    first, second = (
        [[(step, loss) for step, _, loss in curve] for curve in each["learning_curves"]]
        for each in (own, shared)
    )
    assert first == second
    assert len(first) == 6
