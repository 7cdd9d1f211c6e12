"""Models that are kept as snapshots, differences or recipes, in a small experiment."""

import json
import re
import shutil

import numpy as np
import pytest

from shoal.archive.kept import Archive
from shoal.archive.recipes import is_rows, joined, read_blocks, recipe_of
from shoal.archive.storage import keep_as, storage_of
from shoal.errors import ModelError, RecoveryError
from shoal.model_store.care import usage
from shoal.partitions.reader import Index, training_rows
from tests.workflow.small import nudge_training_rows


def same(first, second):
    """Whether two models have the same bits."""
    return set(first) == set(second) and all(
        first[name].tobytes() == second[name].tobytes() for name in first
    )


def kept_in(experiment):
    """What the experiment has kept."""
    return Archive(experiment.folder / "results" / "tiny")


def change_record(kept, model, **changes):
    """Let a recipe's record say something else."""
    record = kept.store.record(model)
    record["recipe"] |= changes
    kept.store.save({model: {}}, records={model: record}, replace=True)


def test_blocks_hold_the_training_rows_in_order(finished, monkeypatch):
    """Rows in blocks, one after the other, are those that a specialist is trained on."""
    monkeypatch.setattr("shoal.archive.recipes._BLOCK_ROWS", 16)
    (path,) = finished.generation.glob("cluster/*/indexes/*/index.json")
    digest = Index(path).trained[0]["specialist"]
    expected, _ = training_rows(Index(path), digest)

    blocks = read_blocks(path, digest)

    assert len(blocks) > 2
    found = joined(blocks)
    assert same({name: found[name] for name in expected}, expected)


def test_a_recipe_gives_the_same_bits_and_its_weights_are_gone(copied):
    """A specialist that is kept as a recipe takes no weights, and is trained to the same bits."""
    kept = kept_in(copied)
    model = kept.find("1")
    expected, tree = kept.load(model), kept.tree(model)

    result = copied.shoal("models", "keep", "results/tiny", "1", "--as", "recipe")

    assert result.returncode == 0, result.stderr
    assert kept.store.load(model) == {}
    assert kept.tree(model) == tree
    assert same(kept.load(model), expected)
    assert kept.store.fsck() == []


def test_a_recipe_is_shown_compared_and_exported_like_any_model(copied):
    """Commands that need weights train the model again; the others do not."""
    from safetensors.numpy import load_file

    kept = kept_in(copied)
    expected = kept.load(kept.find("1"))
    before = copied.shoal("models", "diff", "results/tiny", "0", "1").stdout
    keep_as(kept, kept.find("1"), "recipe")

    shown = copied.shoal("models", "show", "results/tiny", "1")
    text = " ".join(shown.stdout.split())
    assert re.search(r"kept recipe, and rows of .*; trained again in .* predicted", text)
    assert "trained again" not in shown.stderr
    assert copied.shoal("models", "diff", "results/tiny", "0", "1").stdout == before
    out = copied.folder / "one.safetensors"
    result = copied.shoal("models", "export", "results/tiny", "1", str(out))
    assert result.returncode == 0, result.stderr
    assert same(load_file(out), expected)


def test_a_recipe_that_gives_other_bits_names_the_layers(copied):
    """Nothing is returned: the message says which layers differ and how far; exit code 1."""
    kept = kept_in(copied)
    model = kept.find("1")
    expected = kept.load(model)
    keep_as(kept, model, "recipe")
    training = recipe_of(kept.store, model).training
    change_record(kept, model, training=training | {"weight_decay": 0.5})

    out = copied.folder / "one.safetensors"
    result = copied.shoal("models", "export", "results/tiny", "1", str(out))

    assert result.returncode == 1
    assert not out.exists()
    (line,) = (each for each in result.stderr.splitlines() if "error" in each)
    assert "has other bits: layer" in line
    layers = {name.rpartition(".")[0] for name in expected}
    said = dict(re.findall(r"layer (\S+) by about ([\d.e+-]+),", line))
    assert set(said) == layers
    assert all(0 < float(each) < 100 for each in said.values())


def test_what_a_recipe_lacks_is_named(copied):
    """Without its rows a model is not recovered, and the message names them."""
    kept = kept_in(copied)
    model = kept.find("1")
    keep_as(kept, model, "recipe")
    rows = recipe_of(kept.store, model).rows
    kept.store.remove([rows])

    with pytest.raises(ModelError, match=f"training rows, {rows}, is gone"):
        kept.load(model)


def test_only_what_reproduces_becomes_a_recipe(copied, monkeypatch):
    """A specialist that comes out with other bits keeps its weights."""
    kept = kept_in(copied)
    model = kept.find("1")
    expected = kept.load(model)
    monkeypatch.setattr(
        "shoal.archive.recipes._train",
        lambda *_: {name: each + np.float32(1) for name, each in expected.items()},
    )

    with pytest.raises(RecoveryError, match="has other bits"):
        keep_as(kept, model, "recipe")

    assert storage_of(kept.store.record(model)) == "delta"
    assert same(kept.store.load(model), expected)
    assert not any(is_rows(each) for each in kept.store.ids())


def test_others_than_specialists_have_no_recipe(copied):
    """A base is refused in one line."""
    result = copied.shoal("models", "keep", "results/tiny", "base", "--as", "recipe")

    assert result.returncode == 2
    assert re.fullmatch(r"shoal: error: model \S+: only a specialist .*\n", result.stderr)


def test_a_model_goes_from_one_way_to_another(copied):
    """Its bits stay the same; a snapshot refers to nothing; rows go with the last recipe."""
    kept = kept_in(copied)
    model = kept.find("1")
    expected = kept.load(model)

    for way in ("snapshot", "recipe", "delta", "recipe", "snapshot", "delta"):
        keep_as(kept, model, way)

        assert storage_of(kept.store.record(model)) == way
        assert same(kept.load(model), expected)
        assert any(is_rows(each) for each in kept.store.ids()) == (way == "recipe")
        if way == "snapshot":
            assert usage(kept.store, model).steps == 0
    assert kept.store.fsck() == []


def test_recipes_need_nothing_but_the_store(copied):
    """When all other files of the generation are gone a recipe still gives the same bits."""
    kept = kept_in(copied)
    expected = {model: kept.load(model) for model in (kept.find("0"), kept.find("1"))}
    for model in expected:
        keep_as(kept, model, "recipe")
    shutil.rmtree(copied.generation)

    for model, tensors in expected.items():
        assert same(kept.load(model), tensors)


def test_rows_that_are_gone_are_named(copied):
    """A model whose rows nothing has any more keeps its weights; the message names a file."""
    kept = kept_in(copied)
    model = kept.find("0")
    for path in copied.generation.glob("cluster/*/rows/*/*.zarr.zip"):
        path.unlink()

    result = copied.shoal("models", "keep", "results/tiny", model, "--as", "recipe")

    assert result.returncode == 2
    assert re.fullmatch(r"shoal: error: results/tiny/g1/\S+zarr.zip: .*\n", result.stderr)
    assert storage_of(kept.store.record(model)) == "delta"


def test_a_setting_keeps_specialists_as_recipes(copied):
    """What a change brings is kept as the setting says, and a store without weights trains them."""
    source = copied.folder / "data" / "part-0.csv"
    content = source.read_bytes()
    nudge_training_rows(copied, 1)
    copied.run(overrides="[store.keep=recipe]")
    kept = kept_in(copied)
    last = [each["id"] for each in kept.releases[-1]["models"]]
    forms = {model: storage_of(kept.store.record(model)) for model in last}
    assert list(forms.values()).count("recipe") == 4
    changed = source.read_bytes()
    source.write_bytes(content)
    copied.run()
    assert copied.shoal("gc", "tiny", "--keep", "1", "--remove").returncode == 0
    source.write_bytes(changed)

    ran = copied.run()

    assert ran.count("train_specialist") == 2
    ledgers = copied.generation.glob("specialists/*/*/*/*/ledger.json")
    assert not any("recovered" in json.loads(path.read_text()) for path in ledgers)
    again = {each["id"] for each in kept_in(copied).releases[-1]["models"]}
    assert again == set(forms)


def ways(kept):
    """How the last release's specialists are kept."""
    ids = [each["id"] for each in kept.releases[-1]["models"] if each["kind"] == "specialist"]
    return {storage_of(kept.store.record(each)) for each in ids}


def test_auto_takes_recipes_where_they_are_smaller_and_quick(copied):
    """Small models of many rows keep their weights, as do large ones that trained too long."""
    large = "model.width=512, store.keep=auto"
    nudge_training_rows(copied, 1)
    copied.run(overrides="[store.keep=auto]")
    assert ways(kept_in(copied)) == {"delta"}

    copied.run(overrides=f"[{large}, store.recovery_seconds=1e-9]")
    assert ways(kept_in(copied)) == {"delta"}
    before = kept_in(copied).store.bytes
    nudge_training_rows(copied, 1)
    copied.run(overrides=f"[{large}]")

    assert ways(kept_in(copied)) == {"recipe"}
    assert kept_in(copied).store.bytes < before
