"""Recipes that come back from devices: trained again, and believed only if the bits agree."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import shoal as package
from shoal.archive.instances import Instances
from shoal.cli.commands import run
from shoal.deploy.adapt import merkle_root
from shoal.formats.fitted_state import load_state
from shoal.terminal import command
from shoal_edge.folder import read_pool
from shoal_edge.patch import MANIFEST, sha256
from tests.pool.conftest import build_pool, reseal


def shoal(*arguments):
    """Run a command; its exit code."""
    with pytest.raises(SystemExit) as ended, command():
        raise SystemExit(run([*map(str, arguments)]))
    return ended.value.code


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    """Results with a pool; and on a device rows, the adapted pool and its recipe."""
    folder = tmp_path_factory.mktemp("adapted")
    (folder / "results").mkdir()
    shutil.copytree(build_pool(folder), folder / "results" / "pool")
    rng = np.random.default_rng(0)
    values = {"a": rng.normal(5, 5, 50).round(2), "town": rng.choice(["x", "y"], 50)}
    table = pd.DataFrame(values | {"label": np.where(values["a"] > 4, "yes", "no")})
    table.to_csv(folder / "rows.csv", index=False)
    pool, made = folder / "results" / "pool", ("--out", folder / "device")
    told = ("--recipe", folder / "car.recipe", "--lr", 0.01, "--batch-size", 16)
    assert shoal("adapt", pool, folder / "rows.csv", "--partition", 1, *made, *told) == 0
    return folder


@pytest.fixture
def root(adapted, tmp_path):
    """Results of an experiment with a pool."""
    return Path(shutil.copytree(adapted / "results", tmp_path / "results"))


@pytest.fixture
def recipe(adapted, tmp_path):
    """A recipe to change."""
    return Path(shutil.copy(adapted / "car.recipe", tmp_path))


def change_recipe(path, **changes):
    """Let a recipe say something else; a name with a dot is of a part of it."""
    content = json.loads(path.read_text())
    for name, value in changes.items():
        part, _, key = name.rpartition("__")
        (content[part] if part else content)[key] = value
    path.write_text(json.dumps(content))


def refused(root, recipe, rows, capsys, *more):
    """The line with which a recipe is refused; no state of the instance is kept."""
    capsys.readouterr()
    given = ("--instance", "car", "--rows", rows, *more)
    assert shoal("models", "import", root, recipe, *given) == 2
    assert all(state.instance == "copy" for state in Instances(root).states)
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_the_adapted_pool_answers_with_one_other_specialist(adapted):
    """A device goes on with a whole pool, of which one file and the manifest changed."""
    before, after = (read_pool(adapted / each) for each in ("results/pool", "device"))

    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"specialists/1.safetensors", MANIFEST}
    rows = pd.read_csv(adapted / "rows.csv")
    assert package.load(adapted / "device").predict(rows).num_rows == 50
    ((was, _), (now, _)) = (
        load_state(adapted / each / "specialists/1.safetensors")
        for each in ("results/pool", "device")
    )
    assert all((was[name] != now[name]).any() for name in was)


def test_a_recipe_is_trained_again_to_the_same_pool(adapted, root, recipe, tmp_path):
    """The centre has the rows in another order and another format, and gets the device's bits."""
    rows = pd.read_csv(adapted / "rows.csv").sample(frac=1, random_state=0)
    rows.to_parquet(tmp_path / "theirs.parquet")
    given = ("--instance", "car-17", "--rows", tmp_path / "theirs.parquet")

    assert shoal("models", "import", root, recipe, *given) == 0
    assert shoal("models", "recover", root, "car-17", tmp_path / "out") == 0

    assert read_pool(tmp_path / "out") == read_pool(adapted / "device")
    (state,) = (each for each in Instances(root).states if each.instance == "car-17")
    said = json.loads(recipe.read_text())
    assert (state.way, state.rows) == ("recipe", said["rows"]["root"])
    assert state.received == recipe.stat().st_size < 1000


def test_other_rows_are_refused_before_anything_is_trained(
    adapted, root, recipe, tmp_path, capsys, monkeypatch
):
    """A row too few, and one cell that is another."""
    monkeypatch.setattr("shoal.deploy.adapt._trained", None)
    table = pd.read_csv(adapted / "rows.csv")
    fewer, other = table[1:], table.copy()
    other.loc[3, "a"] += 0.01
    for rows in (fewer, other):
        rows.to_csv(tmp_path / "rows.csv", index=False)

        line = refused(root, recipe, tmp_path / "rows.csv", capsys)

        assert f"{tmp_path / 'rows.csv'}: {len(rows)} rows with Merkle root" in line


@pytest.mark.parametrize(
    "changes",
    [{"training__seed": 1}, {"partition": 0}, {"training__lr": 0.02}, {"target": "0" * 64}],
    ids=["seed", "partition", "rate", "result"],
)
def test_a_recipe_that_gives_other_bits_is_not_believed(adapted, root, recipe, capsys, changes):
    """Whatever of it is not what the device did."""
    change_recipe(recipe, **changes)

    line = refused(root, recipe, adapted / "rows.csv", capsys)

    assert "trained again, it gives other bits than it says: versions and processor are" in line


def test_versions_that_differ_are_named(adapted, root, recipe, capsys):
    """They are the likely cause of other bits."""
    change_recipe(recipe, training__seed=1, made_by__torch="1.0")

    line = refused(root, recipe, adapted / "rows.csv", capsys)

    assert "other bits than it says: torch is " in line
    assert ", it was 1.0" in line


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"training__epochs": 10**6}, "training.epochs"),
        ({"training__epochs": 10_000, "training__batch_size": 1}, "500,000 steps, 100,000 are"),
        ({"training__lr": -1}, "training.lr"),
        ({"training__lr": 1e300}, "training.lr"),
        ({"training__batch_size": 0}, "training.batch_size"),
        ({"training__seed": 2**40}, "training.seed"),
        ({"training__loss": {"_target_": "os.system"}}, "training.loss"),
        ({"model": {"_target_": "os.system"}}, "model"),
        ({"partition": 7}, "has no specialist of partition 7"),
        ({"rows__count": -1}, "rows.count"),
        ({"base": "0" * 64}, "which no state here has"),
        ({"base": "../pool"}, "base"),
        ({"shoal_recipe": 2}, "shoal_recipe"),
        ({"made_by": {"x": "y" * 1000}}, "made_by"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_no_recipe_says_is_refused_and_named(adapted, root, recipe, capsys, changes, said):
    """Settings out of bounds, other keys, trainings that take long: nothing of it is tried."""
    change_recipe(recipe, **changes)

    line = refused(root, recipe, adapted / "rows.csv", capsys)

    assert line.startswith(f"shoal: error: {recipe}: ")
    assert said in line


def test_a_recipe_imports_no_model_that_is_not_trusted(adapted, root, recipe, tmp_path, capsys):
    """The pool that it begins with came from outside, too."""
    monkey = {"_target_": "own_module.Net", "features": 3, "outputs": 2}
    reseal(root / "pool", model=monkey)
    change_recipe(recipe, base=sha256((root / "pool" / MANIFEST).read_bytes()))

    line = refused(root, recipe, adapted / "rows.csv", capsys)

    assert "the pool's model is own_module.Net; importing runs its code" in line
    assert "--trust own_module" in line


def test_rows_and_recipe_belong_together(adapted, root, recipe, capsys):
    """A recipe without rows, rows without a recipe, and what is no recipe at all."""
    assert shoal("models", "import", root, recipe, "--instance", "car") == 2
    assert "a recipe is trained again; give its rows by --rows" in capsys.readouterr().err
    line = refused(root, root / "pool", adapted / "rows.csv", capsys)
    assert "--rows belongs to a recipe, and this is none" in line
    recipe.write_text("{")
    assert "not readable as JSON" in refused(root, recipe, adapted / "rows.csv", capsys)
    recipe.write_text("{" + " " * (1 << 16))
    assert "is longer than 64 KiB" in refused(root, recipe, adapted / "rows.csv", capsys)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("label", "purple", "row 3, column 'label': the pool has no class 'purple'"),
        ("label", None, "row 3 has no 'label'; rows to train on need one"),
        ("a", "x", "row 3, column 'a': 'x' is not a number"),
    ],
)
def test_a_row_that_does_not_fit_is_named(adapted, tmp_path, capsys, column, value, said):
    """Before anything is trained or written."""
    table = pd.read_csv(adapted / "rows.csv").astype(object)
    table.loc[2, column] = value
    table.to_csv(tmp_path / "rows.csv", index=False)
    out = ("--out", tmp_path / "out", "--recipe", tmp_path / "recipe")

    code = shoal(
        "adapt", adapted / "results" / "pool", tmp_path / "rows.csv", "--partition", 1, *out
    )

    assert code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "recipe").exists()


def test_the_root_is_that_of_certificate_transparency():
    """RFC 6962: of three leaves the third is a child of the root."""

    def sha(content):
        return hashlib.sha256(content).digest()

    first, second, third = (sha(b"\0" + leaf) for leaf in (b"a", b"b", b"c"))

    assert merkle_root([b"a"]) == first.hex()
    assert merkle_root([b"a", b"b", b"c"]) == sha(b"\1" + sha(b"\1" + first + second) + third).hex()
    assert merkle_root([]) == sha(b"").hex()
