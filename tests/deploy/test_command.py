"""Copies of a small pool."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shoal.deploy.command import deploy_copy, lost
from shoal.deploy.copies import CopyRecord
from shoal.deploy.patches import apply_patch, deploy_patch
from shoal.deploy.publish import publish_copy
from shoal.errors import CorruptError
from shoal.formats.documents.plan import RunSettings
from shoal.formats.fitted_state import load_state
from shoal.formats.json_file import read_json, read_made
from shoal.formats.tables import write_table
from shoal.pool.pool import Pool
from shoal.settings import parse
from shoal.settings.deploying import Exact, Grid
from shoal.settings.learning import Evaluate
from shoal.settings.running import Continuing
from tests.pool.conftest import COLUMNS, MODEL
from tests.shoal_edge.conftest import change

GRID = Grid(method="grid", step=0.125, dead_zone=0.8, most_loss=1.0)
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
    settings: Exact | Grid,
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
