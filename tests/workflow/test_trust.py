"""Nothing that a pool, a store or an imported file names runs, and no file that lies about."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from safetensors.numpy import save_file

import shoal
from shoal.archive.export import export
from shoal.archive.kept import Archive, Key
from shoal.archive.recover import recover
from shoal.archive.storage import keep_as
from shoal.errors import CorruptError, ModelError, SettingsError
from shoal.explore.intermediates.models import Models
from shoal.formats.fitted_state import load_state, save_state
from shoal.formats.hashing import file_hash
from shoal.formats.json_file import read_json, write_json
from shoal.plan.layout import Layout
from tests.workflow.small import Experiment

HOSTILE = """\
from pathlib import Path
Path("hostile_ran").touch()
def call(**arguments):
    Path("hostile_was_called").touch()
"""
POINTS = [
    {"model._target_": "hostile.call"},
    {"model.target": "hostile.call"},
    {"_target_": "hostile.call"},
    {"model.depth.x": 1},
]
REFUSED = r"grid\.(model\.)?(_target_|target|depth\.x): "


@pytest.fixture
def attacked(copied, monkeypatch):
    """A finished experiment in the current folder, where a hostile module lies; it never runs."""
    (copied.folder / "hostile.py").write_text(HOSTILE)
    monkeypatch.chdir(copied.folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield copied
    assert not list(copied.folder.glob("hostile_*"))
    assert "hostile" not in sys.modules


@pytest.fixture
def kept(attacked):
    """The models that it has kept."""
    return Archive(attacked.folder / "results" / "tiny")


def with_record(kept, model, **changes):
    """Write a model's record anew."""
    record = kept.store.record(model) | changes
    weights = {} if "recipe" in record else kept.store.load(model)
    kept.store.save({model: weights}, records={model: record}, replace=True)


def at_point(kept, model, point):
    """Let a model's record name a grid point."""
    with_record(kept, model, meta=kept.store.record(model)["meta"] | {"point": point})


def listed_again(pool):
    """Let the manifest name every file's present hash."""
    manifest = read_json(pool / "manifest.json", Any)
    files = {each.relative_to(pool).as_posix(): each for each in pool.rglob("*") if each.is_file()}
    del files["manifest.json"]
    manifest["files"] = {name: file_hash(path) for name, path in files.items()}
    write_json(pool / "manifest.json", manifest)


@pytest.fixture
def pool(attacked):
    """Its pool, to change."""
    return (attacked.folder / "results" / "tiny" / "pool").resolve()


# Grid points ----------------------------------------------------------------------------------


@pytest.mark.parametrize("point", POINTS)
def test_a_specialists_grid_point_names_no_class(pool, point):
    """The metadata of a specialist in a pool cannot put another class in the model's place."""
    path = next((pool / "specialists").iterdir())
    tensors, meta = load_state(path)
    save_state(path, tensors, meta | {"point": point})
    listed_again(pool)

    with pytest.raises(CorruptError, match=REFUSED):
        shoal.load(pool)


@pytest.mark.parametrize("point", POINTS)
def test_the_generalists_grid_point_names_no_class(pool, point):
    """The same for the generalist's metadata."""
    number = read_json(pool / "manifest.json", Any)["specialists"][0]["partition"]
    gate = read_json(pool / "gate.json", Any)
    write_json(pool / "gate.json", gate | {"shares": gate["shares"] | {str(number): 0}})
    tensors, _ = load_state(pool / "base.safetensors")
    meta = {"point": point, "trained_on": {}, "rows": {}}
    save_state(pool / "generalist.safetensors", tensors, meta)
    listed_again(pool)

    with pytest.raises(CorruptError, match=REFUSED):
        shoal.load(pool)


@pytest.mark.parametrize("point", [*POINTS, ["model._target_"]])
def test_an_imported_grid_point_names_no_class(attacked, kept, point):
    """`shoal models import` refuses the file, and the store stays as it was."""
    model, before = kept.find("1"), kept.store.ids()
    record = kept.store.record(model) | {"id": model}
    record["meta"]["point"] = point
    file = attacked.folder / "one.safetensors"
    save_file(kept.load(model), file, metadata={"shoal": json.dumps(record)})

    result = attacked.shoal("models", "import", "results/tiny", "one.safetensors")

    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("shoal: error: one.safetensors: record: ")
    assert kept.store.ids() == before


@pytest.mark.parametrize("point", POINTS)
def test_a_kept_grid_point_names_no_class(kept, point):
    """A record in the store cannot: not in an export, an activation, or a training again."""
    model = kept.find("1")
    at_point(kept, model, point)

    with pytest.raises(SettingsError, match=REFUSED):
        export(kept, model, kept.home / "one.pt2")
    models = Models(kept.home)
    with pytest.raises(SettingsError, match=REFUSED):
        models.network(models.find("1"))
    with pytest.raises(SettingsError, match=REFUSED):
        keep_as(kept, model, "recipe")


def test_a_recipes_grid_point_names_no_class(kept):
    """A model that is kept as a recipe is not trained at such a point."""
    model = kept.find("1")
    keep_as(kept, model, "recipe")
    at_point(kept, model, POINTS[0])

    with pytest.raises(SettingsError, match=REFUSED):
        kept.load(model)


def test_a_training_takes_nothing_from_the_store_at_another_grid_point(attacked, kept):
    """A record that calls itself the job's own result is used only at the job's point."""
    model = kept.find("1")
    key = Key(*kept.store.record(model)["key"])
    _, made_of, digest, point = key
    (out,) = attacked.generation.glob(f"specialists/{made_of}/{digest}/0/{point}/model.safetensors")
    meta = load_state(out)[1]
    layout = Layout.from_json(read_json(kept.home / "plan.json", dict[str, Any])["layout"])
    assert recover(layout, key, out, out.with_name("ledger.json"))
    at_point(kept, model, POINTS[0])

    assert not recover(layout, key, out, out.with_name("ledger.json"))
    assert load_state(out)[1] == meta


# Classes by name ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("hostile.call", r'is hostile\.call; importing .* trust=\["hostile"\]'),
        ("shoal.formats.json_file.write_json", r"of Shoal's own only the models"),
        ("torch.hub.load", r'trust=\["torch\.hub"\]'),
    ],
)
def test_a_files_class_is_not_imported_before_it_is_trusted(pool, kept, target, message):
    """The model in a pool's manifest, in what is kept of a release, and in a recipe."""
    manifest = read_json(pool / "manifest.json", Any)
    model, listed = kept.find("1"), kept.releases[-1]
    keep_as(kept, model, "recipe")
    other = manifest["model"] | {"_target_": target}

    write_json(pool / "manifest.json", manifest | {"model": other})
    with pytest.raises(ModelError, match=rf"the pool's model .*{message}"):
        shoal.load(pool)
    record = kept.store.record(model)
    with_record(kept, model, recipe=record["recipe"] | {"model": other})
    with pytest.raises(ModelError, match=rf"the recipe's model .*{message}"):
        kept.load(model)
    (file,) = (kept.home / "models").glob(f"*-{listed['release']}.json")
    write_json(file, listed | {"model": other})
    with pytest.raises(ModelError, match=rf"the model .*{message}"):
        export(Archive(kept.home), "base", kept.home / "base.pt2")
    models = Models(kept.home)
    with pytest.raises(ModelError, match=rf"the model .*{message}"):
        models.network(models.find("base"))


def test_a_recipes_scheduler_is_not_imported_before_it_is_trusted(kept):
    """Whoever trusts the recipe's model has not yet trusted another module with its rates."""
    model = kept.find("1")
    keep_as(kept, model, "recipe")
    recipe = kept.store.record(model)["recipe"]
    training = recipe["training"] | {"schedule": {"_target_": "hostile.call"}}
    with_record(kept, model, recipe=recipe | {"training": training})

    with pytest.raises(ModelError, match=r"the recipe's schedule is hostile\.call; importing"):
        kept.load(model)


def test_a_trusted_module_is_not_called_as_what_it_is_not(pool, attacked):
    """Who trusts a module lets its models be built; another function of it is not called."""
    (attacked.folder / "trusted_module.py").write_text("def call(**_):\n    raise SystemExit\n")
    manifest = read_json(pool / "manifest.json", Any)
    manifest["model"]["_target_"] = "trusted_module.call"
    write_json(pool / "manifest.json", manifest)

    with pytest.raises(ModelError, match=r"trusted_module\.call is a function, and a model is a"):
        shoal.load(pool, trust=["trusted_module"])


def test_a_pools_transform_calls_no_function_of_shoals(pool):
    """The function that a step names is held to the same rule, whatever is trusted."""
    steps = [
        {
            "step": "function",
            "columns": ["a"],
            "options": {
                "_target_": "shoal.formats.json_file.write_json",
                "training_only": False,
                "arguments": {"path": "hostile_was_called"},
            },
            "fitted": {},
        }
    ]
    kinds = [["a", "numeric"], ["label", "label"]]
    state = {"seed": 0, "kinds": kinds, "task": "classification", "steps": steps}
    write_json(pool / "transform.json", state)
    listed_again(pool)

    with pytest.raises(ModelError, match=r"the pool's transform .* only the models"):
        shoal.load(pool, trust=["shoal", "shoal.formats.json_file"])


def test_each_place_says_how_it_is_told_to_trust(pool, attacked):
    """Python's line shows an argument, the command's an option; one text is refused."""
    manifest = read_json(pool / "manifest.json", Any)
    manifest["model"]["_target_"] = "hostile.call"
    write_json(pool / "manifest.json", manifest)
    said = "the pool's model is hostile.call; importing runs its code, so say that you trust it"

    with pytest.raises(ModelError) as caught:
        shoal.load(pool)
    assert str(caught.value) == f'{said}: trust=["hostile"]'
    with pytest.raises(SettingsError, match=r'trust=\["hostile"\]$'):
        shoal.load(pool, trust="hostile")
    pool_in, rows = "results/tiny/pool", "data/part-0.csv"
    result = attacked.shoal("predict", pool_in, rows, "--out", "said.csv")
    assert (result.returncode, result.stderr) == (2, f"shoal: error: {said}: --trust hostile\n")


# Files that lie about -------------------------------------------------------------------------


@pytest.fixture
def littered(copied):
    """An experiment in a folder with a file of the name of every library; each leaves a mark."""
    names = {*sys.stdlib_module_names, *importlib.metadata.packages_distributions(), "shoal"}
    for name in names:
        text = f"import posix\nposix.close(posix.open({name + '.ran'!r}, posix.O_CREAT, 0o644))\n"
        if name.isidentifier() and not (copied.folder / name).exists():
            (copied.folder / f"{name}.py").write_text(text)
    return Experiment(copied.folder)


@pytest.mark.parametrize(
    "command",
    [
        ("shoal", "--help"),
        ("shoal", "plan", "tiny"),
        ("shoal", "predict", "results/tiny/pool", "data/part-0.csv", "--out", "said.csv"),
        ("snakemake", "-n", "--config", "experiment=tiny"),
    ],
)
def test_a_command_imports_nothing_from_the_current_folder(littered, command):
    """No file is run that has the name of a library, whichever the command imports."""
    result = subprocess.run(
        command,
        cwd=littered.folder,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    assert not list(littered.folder.glob("*.ran"))
    if command[1] == "predict":
        assert len(pd.read_csv(littered.folder / "said.csv")) == 150


@pytest.mark.long
def test_a_job_on_another_node_imports_nothing_from_the_current_folder(littered):
    """There Snakemake is started as `python -m`, which would search the folder first."""
    (check,) = littered.generation.glob("split/*/checks/*.json")
    check.unlink()
    plugins = str(Path(__file__).parent / "plugins")
    python_path = os.pathsep.join(filter(None, [plugins, os.environ.get("PYTHONPATH")]))
    fixed = ("--executor", "child", "--jobs", "1", "--scheduler", "greedy")

    result = littered.snakemake(
        str(check.relative_to(littered.folder)),
        *fixed,
        PYTHONPATH=python_path,
        PYTHONDONTWRITEBYTECODE="1",
    )

    assert result.returncode == 0, result.stderr
    assert check.exists()
    assert not list(littered.folder.glob("*.ran"))
