"""Rows that the data no longer has are taken out of recipes, in a small experiment."""

import re
import shutil

import pytest

from shoal.archive.kept import Archive
from shoal.archive.recipes import is_rows
from shoal.archive.storage import keep_as, storage_of
from shoal.errors import ModelError
from tests.workflow.small import remove_training_row


@pytest.fixture
def without_a_row(copied):
    """Two specialists are recipes, and a row of the first one's is no longer in the data."""
    kept = Archive(copied.folder / "results" / "tiny")
    recipes = [kept.find("0"), kept.find("1")]
    for model in recipes:
        keep_as(kept, model, "recipe")
    shutil.copy(copied.folder / "data" / "part-0.csv", copied.folder / "before.csv")
    remove_training_row(copied)
    copied.run()
    return copied, kept, recipes


def test_rows_that_are_gone_from_the_data_are_listed_first(without_a_row):
    """The command names the recipe that has such a row, how many, and changes nothing."""
    experiment, kept, (first, _) = without_a_row
    expected = kept.load(first)

    result = experiment.shoal("models", "forget", "results/tiny")

    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0] == f"{first}  rows that the data no longer has: 1"
    assert "nothing was removed" in result.stdout
    assert all((kept.load(first)[name] == expected[name]).all() for name in expected)


def test_a_recipe_whose_row_is_forgotten_says_so(without_a_row):
    """Its rows are out of the store's files; the other recipe is as good as before."""
    experiment, kept, (first, second) = without_a_row
    expected, rows = kept.load(second), kept.store.record(first)["recipe"]["rows"]
    blocks = set(kept.store.tree(rows).tensors.values())

    result = experiment.shoal("models", "forget", "results/tiny", "--remove")

    assert result.returncode == 0, result.stderr
    left = [kept.store.tree(each) for each in kept.store.ids() if is_rows(each)]
    assert not blocks & {each for tree in left for each in tree.tensors.values()}
    with pytest.raises(ModelError, match=r"training rows of it were forgotten \(1\)"):
        kept.load(first)
    shown = " ".join(experiment.shoal("models", "show", "results/tiny", first).stdout.split())
    assert "kept no more: rows of its recipe were forgotten (1)" in shown
    assert all((kept.load(second)[name] == expected[name]).all() for name in expected)
    assert experiment.shoal("models", "fsck", "results/tiny").returncode == 0
    again = experiment.shoal("models", "forget", "results/tiny", "--remove")
    assert "0 models are recipes with such rows" in again.stdout


def test_a_row_that_comes_back_brings_its_model_back(without_a_row):
    """When the data has the row again, its specialist is kept anew, with its weights."""
    experiment, kept, (first, _) = without_a_row
    expected = kept.load(first)
    assert experiment.shoal("models", "forget", "results/tiny", "--remove").returncode == 0
    (experiment.folder / "before.csv").replace(experiment.folder / "data" / "part-0.csv")

    experiment.run()

    assert storage_of(kept.store.record(first)) == "delta"
    assert all((kept.load(first)[name] == expected[name]).all() for name in expected)


def test_without_row_stores_nobody_can_tell(without_a_row):
    """The message names a row store that is gone; nothing is removed."""
    experiment, kept, _ = without_a_row
    for path in experiment.generation.glob("cluster/*/rows/*/*.zarr.zip"):
        path.unlink()
    before = kept.store.bytes

    result = experiment.shoal("models", "forget", "results/tiny", "--remove")

    assert result.returncode == 2
    line = r"shoal: error: results/tiny/g1/\S+zarr.zip: is not there.*\n"
    assert re.fullmatch(line, result.stderr)
    assert kept.store.bytes == before
