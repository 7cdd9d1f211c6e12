"""Splits of real datasets, where they are."""

import numpy as np

from shoal.settings.data import ArraySource


def test_titanic(run, shared_data, split_settings):
    """Mixed columns with missing values, without the column that repeats the label."""
    files = [shared_data / "titanic.csv.gz"]

    tables, check = run(
        files, {"survived": "label", "alive": "ignore"}, split_settings("random"), batch_rows=300
    )

    (rows,) = tables["titanic.csv.gz"].batches(1000)
    assert check["rows"] == 891
    assert "alive" not in rows.schema.names
    assert rows["age"].null_count == 177
    assert set(rows["survived"].to_pylist()) == {"0", "1"}
    assert set(rows["alone"].to_pylist()) == {0.0, 1.0}


def test_california_housing(run, shared_data, split_settings):
    """A numeric label, and missing values in one column."""
    tables, check = run(
        [shared_data / "california_housing.csv.gz"],
        {"median_house_value": "label"},
        split_settings("stratified"),
        task="regression",
        batch_rows=5000,
    )

    assert check["folds"] == {"train": 12384, "validation": 4128, "test": 4128, "outside": 0}
    table = tables["california_housing.csv.gz"]
    missing = sum(rows["total_bedrooms"].null_count for rows in table.batches(5000))
    assert missing == 207


def test_clinc(run, shared_data, split_settings):
    """The file's own folds, with queries out of scope kept out of all."""
    values = {"train": "train", "val": "validation", "test": "test"}
    outside = ["oos_train", "oos_val", "oos_test"]
    settings = split_settings("column", column="split", values=values, outside=outside)

    tables, check = run(
        [shared_data / "clinc150.csv.gz"],
        {"intent": "label", "domain": "ignore"},
        settings,
        batch_rows=8192,
    )

    assert check["folds"] == {"train": 15000, "validation": 3000, "test": 4500, "outside": 1200}
    assert tables["clinc150.csv.gz"].schema.names == ["text", "intent", "_key", "_fold", "_source"]


def test_fashion_mnist(run, shared_data):
    """Images from two sets of arrays in one compressed file."""
    arrays = [{"image": "x_train", "label": "y_train"}, {"image": "x_test", "label": "y_test"}]
    source = ArraySource(path=str(shared_data / "fashion_mnist.npz"), arrays=arrays)

    tables, check = run([source], {"label": "label"}, batch_rows=6000)

    assert check["rows"] == 18_000
    assert tables["fashion_mnist.npz"].schema.field("image").type.shape == [28, 28]
    with np.load(shared_data / "fashion_mnist.npz") as stored:
        first = next(tables["fashion_mnist.npz"].batches(10))
        assert (
            first["image"].chunk(0).to_numpy_ndarray().tolist() == stored["x_train"][:10].tolist()
        )
