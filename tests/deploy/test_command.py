"""Copies of a small pool."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shoal.deploy.command import deploy_copy, lost
from shoal.deploy.copies import CopyRecord, Residual
from shoal.deploy.patches import apply_patch, deploy_patch
from shoal.deploy.publish import publish_copy
from shoal.errors import CorruptError, SourceError
from shoal.formats.documents.plan import RunSettings
from shoal.formats.fitted_state import load_state, save_state
from shoal.formats.hashing import file_hash
from shoal.formats.json_file import read_json, read_made
from shoal.formats.tables import write_table
from shoal.pool.pool import Pool
from shoal.settings import parse
from shoal.settings.deploying import Exact, Grid, Sparse
from shoal.settings.learning import Evaluate
from shoal.settings.running import Continuing
from tests.pool.conftest import COLUMNS, MODEL
from tests.shoal_edge.conftest import change, reseal

GRID = Grid(method="grid", step=0.125, dead_zone=0.8, most_loss=1.0)
SPARSE = Sparse(method="sparse", density=0.1, choice="top", bits=8, most_loss=1.0)
CONTINUING = {
    "method": "none",
    "history": 1.0,
    "recency": "uniform",
    "buffers": "trained",
    "longest": 3,
}
EVALUATE = {"bootstrap": 10, "calibration_bins": 5, "map": "pca", "map_rows": 10, "seed": 0}
RESOLVED = {"model": MODEL, "transform": {"steps": [], "fit_rows": 9, "seed": 0}}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A table after split, of validation rows."""
    rng = np.random.default_rng(0)
    count = 40
    values = {
        "a": rng.normal(5, 5, count).tolist(),
        "town": rng.choice(["x", "y"], count).tolist(),
        "label": rng.choice(["no", "yes"], count).tolist(),
        "_key": [bytes([number]) * 16 for number in range(count)],
        "_fold": [1] * count,
        "_source": [bytes([number]) * 16 for number in range(count)],
    }
    table = pa.table(values, schema=COLUMNS.schema())
    path = tmp_path / "rows.parquet"
    write_table(path, table.schema, [table], {"rows_in": count, "dropped": {}})
    return path


def made(
    pool: Path,
    folder: Path,
    rows: Path,
    settings: Exact | Grid | Sparse,
    before: Path | None = None,
    metric: str = "accuracy",
    model: object = MODEL,
) -> CopyRecord:
    """A copy in a folder, and its record."""
    deploy_copy(
        settings,
        parse(Evaluate, {**EVALUATE, "metric": metric}, ""),
        parse(Continuing, CONTINUING, ""),
        RESOLVED | {"model": model},  # type: ignore[arg-type]
        pool / "manifest.json",
        [rows],
        before and before / "copy" / "manifest.json",
        "0123456789",
        "first",
        folder / "copy" / "manifest.json",
        folder / "copy.json",
        1,
        1 << 30,
    )
    return read_made(folder / "copy.json", CopyRecord)


def predicted(pool: Path) -> list[object]:
    """Answers of a pool."""
    table = pa.table({"a": [0.0, 3.0, 11.0], "town": ["x", "y", "y"]})
    return Pool.load(pool).predict(table).to_pylist()


def test_an_exact_copy_answers_as_the_pool(small_pool, tmp_path, rows):
    """It is a pool with the same answers that does not say what it was made from."""
    record = made(small_pool, tmp_path / "c", rows, Exact(method="exact"))

    copy = tmp_path / "c" / "copy"
    assert predicted(copy) == predicted(small_pool)
    assert read_json(copy / "ledger.json", list) == []
    assert not {"host", "seconds", "made_from"} & read_json(copy / "gate.json", dict).keys()
    assert not any(b"made_from" in path.read_bytes() for path in copy.rglob("*.*"))
    assert (record["method"], record["scores"]) == ("exact", None)
    assert record["bytes"] == sum(p.stat().st_size for p in copy.rglob("*") if p.is_file())


def test_a_copy_on_a_grid_is_compared_with_the_pool(small_pool, tmp_path, rows):
    """Its specialists and generalist are on grids, and both scores are in the record."""
    record = made(small_pool, tmp_path / "c", rows, GRID)

    copy = tmp_path / "c" / "copy"
    assert record["method"] == "grid"
    scores = record["scores"]
    assert scores is not None
    assert scores["metric"] == "accuracy"
    assert scores["lost"] == pytest.approx(scores["pool"] - scores["copy"])
    for name in ("specialists/0.safetensors", "generalist.safetensors"):
        for tensor, exponent in record["exponents"][name].items():
            values = load_state(copy / name)[0][tensor] / np.float32(2.0**exponent)
            assert np.array_equal(values, np.round(values))
    assert predicted(copy) != predicted(small_pool)
    base = "base.safetensors"
    assert np.array_equal(
        load_state(copy / base)[0]["layers.1.weight"],
        load_state(small_pool / base)[0]["layers.1.weight"],
    )


def test_a_copy_that_loses_too_much_is_replaced_by_the_exact_one(
    small_pool, tmp_path, rows, capsys
):
    """On a grid as coarse as the weights it answers worse, and the log says so."""
    coarse = GRID.model_copy(update={"step": 1.0, "most_loss": 0.0})
    for seed in range(5):
        pool = Path(shutil.copytree(small_pool, tmp_path / f"p{seed}"))
        change(pool, "specialists/0.safetensors", 0.03 * seed)
        record = made(pool, tmp_path / f"c{seed}", rows, coarse, metric="log_loss")
        if record["method"] == "exact":
            break

    assert record["method"] == "exact"
    assert record["exponents"] == {}
    assert "the exact copy is shipped" in capsys.readouterr().err
    assert predicted(tmp_path / f"c{seed}" / "copy") == predicted(pool)


def test_the_same_chain_gives_the_same_bits(small_pool, tmp_path, rows):
    """A copy is a function of the pool, the copy before and the settings."""
    second = Path(shutil.copytree(small_pool, tmp_path / "second"))
    change(second, "specialists/1.safetensors", 0.05)
    for chain in ("a", "b"):
        made(small_pool, tmp_path / chain / "1", rows, GRID)
        made(second, tmp_path / chain / "2", rows, GRID, tmp_path / chain / "1")

    files = [
        {p.relative_to(tmp_path / c): p.read_bytes() for p in (tmp_path / c).rglob("*.*")}
        for c in "ab"
    ]
    assert files[0] == files[1]


def test_a_patch_brings_a_device_from_copy_to_copy(small_pool, tmp_path, rows):
    """A device with the first copy that applies the patch answers as the second one."""
    second = Path(shutil.copytree(small_pool, tmp_path / "second"))
    change(second, "specialists/1.safetensors", 0.05)
    made(small_pool, tmp_path / "1", rows, GRID)
    made(second, tmp_path / "2", rows, GRID, tmp_path / "1")
    copies = [tmp_path / number / "copy" / "manifest.json" for number in "12"]
    deploy_patch(copies[1], copies[0], tmp_path / "patch")
    device = Path(shutil.copytree(copies[0].parent, tmp_path / "device"))

    apply_patch(device, tmp_path / "patch")

    assert Pool.load(device).digest == Pool.load(copies[1].parent).digest
    assert predicted(device) == predicted(copies[1].parent)
    with pytest.raises(CorruptError, match="for a pool with manifest"):
        apply_patch(device, tmp_path / "patch")


def test_where_there_can_be_no_patch_the_file_is_empty(small_pool, tmp_path, rows, capsys):
    """Pools of two formats have no patch; the run goes on and the log says why."""
    made(small_pool, tmp_path / "1", rows, Exact(method="exact"))
    old = Path(shutil.copytree(tmp_path / "1" / "copy", tmp_path / "old"))
    manifest = read_json(old / "manifest.json", dict)
    (old / "manifest.json").write_text(json.dumps(manifest | {"format": 3}))

    deploy_patch(tmp_path / "1/copy/manifest.json", old / "manifest.json", tmp_path / "patch")

    assert (tmp_path / "patch").read_bytes() == b""
    assert "no patch" in capsys.readouterr().err


def test_what_is_published_says_which_patch_is_for_which_copy(small_pool, tmp_path, rows):
    """A device finds its patch by the hash of its manifest; what is old is gone."""
    second = Path(shutil.copytree(small_pool, tmp_path / "second"))
    change(second, "specialists/1.safetensors", 0.05)
    first = made(small_pool, tmp_path / "1", rows, GRID)
    record = made(second, tmp_path / "2", rows, GRID, tmp_path / "1")
    patch, place = tmp_path / "aaaaaaaaaa.patch", tmp_path / "deploy"
    deploy_patch(tmp_path / "2/copy/manifest.json", tmp_path / "1/copy/manifest.json", patch)
    publish_copy(tmp_path / "1" / "copy.json", [], place)
    (place / "patches").mkdir()
    (place / "patches" / "old.patch").write_bytes(b"old")

    publish_copy(tmp_path / "2" / "copy.json", [patch], place)

    channel = read_json(place / "channel.json", dict)
    assert channel["manifest"] == record["manifest"]
    assert channel["patches"][first["manifest"]]["file"] == "patches/aaaaaaaaaa.patch"
    assert channel["patches"][first["manifest"]]["bytes"] == patch.stat().st_size
    assert [path.name for path in (place / "patches").iterdir()] == ["aaaaaaaaaa.patch"]
    assert Pool.load(place / "copy").digest == Pool.load(tmp_path / "2" / "copy").digest


@pytest.mark.parametrize(
    ("metric", "pool", "copy", "expected"),
    [
        ("accuracy", 0.9, 0.88, 0.02),
        ("accuracy", 0.9, 0.92, -0.02),
        ("rmse", 2.0, 2.1, 0.05),
        ("rmse", 2.0, 1.9, -0.05),
        ("rmse", 0.0, 0.0, 0.0),
        ("rmse", 0.0, 0.1, None),
        ("auroc", None, 0.5, None),
    ],
)
def test_what_a_copy_loses(metric, pool, copy, expected):
    """Points of a share, and a share of an error; None where that is not defined."""
    found = lost(metric, pool, copy)

    assert found == (expected if expected is None else pytest.approx(expected))


def test_records_of_runs_are_settings(small_pool):
    """The settings above are as a run has them."""
    assert set(RESOLVED) <= set(RunSettings.__annotations__)


def continued(pool: Path, folder: Path, copy: Path, by: float = 0.05) -> Path:
    """The pool after one specialist was trained on from a copy."""
    second = Path(shutil.copytree(pool, folder))
    file = "specialists/1.safetensors"
    tensors, meta = load_state(copy / file)
    moved = {name: each + np.float32(by) for name, each in tensors.items()}
    save_state(second / file, moved, {**meta, "parent": file_hash(copy / file)})
    reseal(second)
    return second


def weights_of(folder: Path, file: str = "specialists/1.safetensors") -> np.ndarray:
    """All weights of a model."""
    tensors = load_state(folder / file)[0]
    return np.concatenate([tensors[name].ravel() for name in sorted(tensors)])


def left_out(folder: Path, file: str = "specialists/1.safetensors") -> np.ndarray:
    """All that a copy leaves out of a model's weights."""
    kept = Residual.load(folder / "copy")
    assert kept is not None
    return np.concatenate([kept.rest[file][name].ravel() for name in sorted(kept.rest[file])])


@pytest.mark.parametrize("settings", [GRID, SPARSE], ids=["grid", "sparse"])
def test_what_a_copy_leaves_out_is_added_to_what_is_trained_from_it(
    small_pool, tmp_path, rows, settings
):
    """Deployed and left out make what was trained and left out before; it is beside the copy."""
    asked = settings.model_copy(update={"train_on": "deployed"})
    record = made(small_pool, tmp_path / "1", rows, asked)
    second = continued(small_pool, tmp_path / "second", tmp_path / "1" / "copy")

    made(second, tmp_path / "2", rows, asked, tmp_path / "1")

    assert record["residual"] == file_hash(tmp_path / "1" / "residual.safetensors")
    first, rest = weights_of(tmp_path / "1" / "copy"), left_out(tmp_path / "1")
    assert first + rest == pytest.approx(weights_of(small_pool), abs=1e-6)
    now, later = weights_of(tmp_path / "2" / "copy"), left_out(tmp_path / "2")
    assert not np.array_equal(now, first)
    assert now + later == pytest.approx(weights_of(second) + rest, abs=1e-6)
    assert not list((tmp_path / "2" / "copy").rglob("residual*"))


def test_a_model_that_was_not_trained_stays_as_deployed(small_pool, tmp_path, rows):
    """What its copy left out is less than moves a weight."""
    asked = GRID.model_copy(update={"train_on": "deployed"})
    made(small_pool, tmp_path / "1", rows, asked)
    second = continued(small_pool, tmp_path / "second", tmp_path / "1" / "copy")

    made(second, tmp_path / "2", rows, asked, tmp_path / "1")

    own = "specialists/0.safetensors"
    assert np.array_equal(*(weights_of(tmp_path / n / "copy", own) for n in "12"))
    assert left_out(tmp_path / "2", own) == pytest.approx(left_out(tmp_path / "1", own), abs=1e-6)


def test_a_model_that_was_trained_from_elsewhere_is_rounded_anew(small_pool, tmp_path, rows):
    """As after removed rows: nothing of the copy before is in what is deployed of it."""
    asked = GRID.model_copy(update={"train_on": "deployed", "dead_zone": 1.0})
    made(small_pool, tmp_path / "1", rows, asked)
    second = Path(shutil.copytree(small_pool, tmp_path / "second"))
    change(second, "specialists/1.safetensors", 0.05)

    made(second, tmp_path / "2", rows, asked, tmp_path / "1")
    made(second, tmp_path / "alone", rows, asked)

    assert np.array_equal(*(weights_of(tmp_path / n / "copy") for n in ("2", "alone")))
    assert np.array_equal(left_out(tmp_path / "2"), left_out(tmp_path / "alone"))


def test_what_an_exact_copy_leaves_out_is_nothing(small_pool, tmp_path, rows):
    """Where the exact copy is shipped, the next link has nothing to make up for."""
    pool = Path(shutil.copytree(small_pool, tmp_path / "other"))
    asked = GRID.model_copy(update={"train_on": "deployed", "step": 1.0, "most_loss": 0.0})
    for seed in range(5):
        change(pool, "specialists/0.safetensors", 0.03 * seed)
        record = made(pool, tmp_path / f"c{seed}", rows, asked, metric="log_loss")
        if record["method"] == "exact":
            break

    assert record["method"] == "exact"
    kept = Residual.load(tmp_path / f"c{seed}" / "copy")
    assert kept is not None
    assert kept.rest == {}


def test_what_was_left_out_must_be_what_the_record_names(small_pool, tmp_path, rows):
    """A file that was altered is refused before a copy is made."""
    asked = GRID.model_copy(update={"train_on": "deployed"})
    made(small_pool, tmp_path / "1", rows, asked)
    shutil.copytree(tmp_path / "1", tmp_path / "gone")
    (tmp_path / "gone" / "residual.safetensors").unlink()
    save_state(tmp_path / "1" / "residual.safetensors", {}, {"models": {}}, recorded=False)

    with pytest.raises(CorruptError, match="not the one that copy"):
        made(small_pool, tmp_path / "2", rows, asked, tmp_path / "1")
    with pytest.raises(SourceError, match="no such file"):
        made(small_pool, tmp_path / "2", rows, asked, tmp_path / "gone")


def test_a_sparse_copy_moves_a_share_of_each_model(small_pool, tmp_path, rows):
    """A tenth of a specialist's weights move, and the record says how it was made."""
    second = Path(shutil.copytree(small_pool, tmp_path / "second"))
    change(second, "specialists/1.safetensors", 0.05)
    made(small_pool, tmp_path / "1", rows, SPARSE)

    record = made(second, tmp_path / "2", rows, SPARSE, tmp_path / "1")

    assert record["method"] == "sparse"
    assert "residual" not in record
    one, two = (weights_of(tmp_path / number / "copy") for number in "12")
    assert (one != two).sum() == np.ceil(0.1 * len(one))
