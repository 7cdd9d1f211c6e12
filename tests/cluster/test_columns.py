"""An existing column as the partition."""

import numpy as np
import pytest

from shoal.cluster.assigner import column_values, fit_column
from shoal.errors import DataError, SettingsError
from shoal.formats.tables import TRAIN, Table


def test_values_of_the_training_fold_are_the_partitions(tmp_path, shards):
    """Each value of the training fold is a partition, the most frequent first."""
    rows = shards.random_rows(300)
    rows.colour[rows.fold != TRAIN] = "violet"
    halves = [shards.write(tmp_path, "a", rows[:150]), shards.write(tmp_path, "b", rows[150:])]

    assigner = fit_column("colour", [Table(h.table) for h in halves], 8)

    values, counts = np.unique(rows.colour[rows.fold == TRAIN], return_counts=True)
    assert assigner.values == values[np.argsort(-counts)].tolist()
    assert assigner.rows.sum() == (rows.fold == TRAIN).sum()


def test_missing_values_are_no_partition(tmp_path, shards):
    """A row without a value counts for no partition."""
    rows = shards.as_training(shards.random_rows(30))
    rows.colour[:] = "red"
    rows.colour[:4] = None

    assigner = fit_column("colour", [Table(shards.write(tmp_path, "a", rows).table)], 8)

    assert (assigner.values, assigner.rows.tolist()) == (["red"], [26])


def test_column_of_numbers_can_be_the_partition(tmp_path, shards):
    """A numeric column's values are the partitions."""
    files = shards.write(tmp_path, "a", shards.as_training(shards.random_rows(30)))

    assert set(fit_column("size", [Table(files.table)], 2).values) == {"0", "1"}


def test_unknown_column_names_the_nearest(tmp_path, shards):
    """A column that is not there is reported with the one that may be meant."""
    files = shards.write(tmp_path, "a", shards.random_rows(30))

    with pytest.raises(SettingsError, match=r"no column 'color'; did you mean 'colour'\?"):
        fit_column("color", [Table(files.table)], 8)


def test_key_is_no_column(tmp_path, shards):
    """Shoal's own columns cannot be partitioned by."""
    files = shards.write(tmp_path, "a", shards.random_rows(30))

    with pytest.raises(SettingsError, match="no column '_fold'"):
        column_values(Table(files.table), "_fold")


def test_too_many_values_are_an_error(tmp_path, shards):
    """More values than partitions are accepted is an error that names the setting."""
    files = shards.write(tmp_path, "a", shards.random_rows(100))

    with pytest.raises(DataError, match=r"more than 2 values; raise cluster\.max_partitions"):
        fit_column("colour", [Table(files.table)], 2)


def test_column_without_values_is_an_error(tmp_path, shards):
    """A column that is empty in the training fold cannot be the partition."""
    rows = shards.random_rows(30)
    rows.colour[:] = None

    with pytest.raises(DataError, match="'colour' has no value in the training fold"):
        fit_column("colour", [Table(shards.write(tmp_path, "a", rows).table)], 8)
