"""Labels drawn anew."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from shoal.errors import DataError
from shoal.formats.tables import Table
from shoal.split.command import split, split_fit
from shoal.split.keys import value_hashes
from shoal.split.shuffle import ShuffledLabels
from tests.split_files import split_files

KEYS = value_hashes(np.arange(4000).astype(str).astype(object))


def words(*values):
    return np.array(values, dtype=object)


def test_shares_stay_and_the_relation_goes():
    """Classes are as frequent as before, whatever the row's own label was."""
    before = words(*["a"] * 3000, *["b"] * 1000)

    after = ShuffledLabels.fit(before).draw(KEYS, 0)

    for part in (after[:3000], after[3000:]):
        assert (part == "a").mean() == pytest.approx(0.75, abs=4 * (0.1875 / len(part)) ** 0.5)


def test_numbers_keep_their_distribution():
    """Drawn numbers are numbers of the training fold, with the same quantiles."""
    before = np.random.default_rng(0).lognormal(size=4000)

    after = ShuffledLabels.fit(before).draw(KEYS, 0)

    assert set(after) <= set(before)
    assert np.quantile(after, [0.25, 0.5, 0.75]) == pytest.approx(
        np.quantile(before, [0.25, 0.5, 0.75]), rel=0.1
    )
    assert abs(np.corrcoef(before, after)[0, 1]) < 0.07


def test_more_numbers_than_are_kept_keep_their_quantiles():
    """The state stays small, whatever the number of rows."""
    labels = ShuffledLabels.fit(np.arange(250_000.0))

    assert len(labels.values) == 100_000
    assert np.median(labels.values) == pytest.approx(125_000, rel=1e-4)
    assert (labels.values[0], labels.values[-1]) == (0, 249_999)


def test_a_label_is_a_function_of_key_and_seed():
    """Neither the rows beside it nor their order matter; another seed draws others."""
    labels = ShuffledLabels.fit(words("a", "b"))
    order = np.random.default_rng(1).permutation(len(KEYS))

    whole = labels.draw(KEYS, 0)

    assert (labels.draw(KEYS[order], 0) == whole[order]).all()
    assert 0.4 < (labels.draw(KEYS, 1) == whole).mean() < 0.6


@pytest.mark.parametrize("labels", [words("x", "y", "y"), np.array([1.5, 2.5, 2.5])])
def test_the_labels_survive_their_state(labels):
    """What is rebuilt from tensors and JSON draws alike; without any, nothing is shuffled."""
    fitted = ShuffledLabels.fit(labels)

    again = ShuffledLabels.from_state(*fitted.state())

    assert (again.draw(KEYS, 3) == fitted.draw(KEYS, 3)).all()
    assert ShuffledLabels.from_state({}, {}) is None


def test_rows_outside_every_fold_keep_their_label():
    """What is known to be out of scope is no part of the control."""
    table = pa.table({"y": pa.array(["z"] * 4), "x": [1, 2, 3, 4]})
    folds = np.array([0, 1, 2, 3], dtype=np.uint8)

    out = ShuffledLabels.fit(words("a")).replace(table, "y", KEYS[:4], folds, 0)

    assert out.schema == table.schema
    assert out["y"].to_pylist() == ["a", "a", "a", "z"]


def test_an_empty_training_fold_is_an_error():
    """There is nothing to draw from."""
    with pytest.raises(DataError, match=r"sources\.shuffle_labels: the training fold is empty"):
        ShuffledLabels.fit(words())


@pytest.fixture
def written(tmp_path, split_settings, source_settings):
    """Split tables of some files, with or without the switch."""

    def written(files, shuffle, task="classification", method="hash"):
        declared = {"id": "id", "y": "label"}
        sources = source_settings([str(f) for f in files], declared, task=task)
        sources = sources.model_copy(update={"shuffle_labels": shuffle})
        settings = split_settings(method)
        out = tmp_path / f"{shuffle}"
        fitted = out / "columns.json", out / "folds.safetensors"
        split_fit(sources, settings, *fitted)
        tables = []
        for path in files:
            split(path, *fitted, settings, 64, *split_files(out / path.stem))
            tables += Table(out / path.stem).batches(10_000)
        return pa.concat_tables(tables).to_pandas()

    return written


def file(path, rows):
    rows.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_switch_changes_the_labels_alone(written, tmp_path, task):
    """Inputs, keys and folds stay; labels are of the training fold's, in all folds."""
    rows = pd.DataFrame({"id": range(300), "x": np.arange(300) / 7})
    rows["y"] = rows["x"] if task == "regression" else np.where(rows["x"] > 20, "p", "q")
    files = [file(tmp_path / f"{n}.csv", rows[n::2]) for n in range(2)]

    true, drawn = (
        written(files, False, task, "stratified"),
        written(files, True, task, "stratified"),
    )

    of_labels = ["y", "_source"]
    assert drawn.drop(columns=of_labels).equals(true.drop(columns=of_labels))
    assert set(drawn["y"]) <= set(true.loc[true["_fold"] == 0, "y"])
    for fold in range(3):
        inside = true["_fold"] == fold
        assert (drawn["y"] != true["y"])[inside].any()


def test_shards_and_new_rows_do_not_matter(written, tmp_path):
    """A row draws the same label in another file, as long as the training labels are the same."""
    rows = pd.DataFrame({"id": range(200), "x": np.arange(200) / 7, "y": ["p", "q"] * 100})
    one = written([file(tmp_path / "all.csv", rows)], True)
    halves = [file(tmp_path / f"{n}.csv", rows[n::2]) for n in range(2)]
    two = written(halves, True)

    before, after = (dict(zip(t["_key"], t["y"], strict=True)) for t in (one, two))
    assert before == after
