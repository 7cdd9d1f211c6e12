"""The frozen map from row to partition: by atoms, and by a column."""

from __future__ import annotations

import numpy as np
import pytest

from shoal.cluster.assigner import (
    AtomAssigner,
    ColumnAssigner,
    assigner_from_state,
    column_values,
    fit_column,
    load_assigner,
)
from shoal.cluster.merge import Bounds
from shoal.errors import CorruptError, DataError, SettingsError
from shoal.formats.kinds import TRAIN
from shoal.formats.tables import Table
from shoal_edge.placing import value_text


@pytest.fixture
def assigner():
    """Four prototypes on a line, three atoms, two partitions."""
    prototypes = np.array([[0.0], [4.0], [10.0], [20.0]], np.float32)
    prototype_atom = np.array([0, 1, 2, 1], np.int32)
    return AtomAssigner(prototypes, prototype_atom, np.array([1, 0, 1], np.int32), Bounds(2, 9), 11)


def random_assigner(prototypes=40, partitions=5, dims=17):
    """Random prototypes, each an atom."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(prototypes, dims)).astype(np.float32)
    atoms = np.arange(prototypes, dtype=np.int32)
    return AtomAssigner(points, atoms, (atoms % partitions).astype(np.int32), Bounds(0, 9), 9)


def test_row_goes_to_the_partition_of_its_nearest_prototype(assigner):
    """Row -> prototype -> atom -> partition, with the distance."""
    rows = np.array([[1.0], [5.0], [11.0], [19.0]], np.float32)

    partition, atom, distance = assigner.nearest(rows)

    assert partition.tolist() == [1, 0, 1, 0]
    assert atom.tolist() == [0, 1, 2, 1]
    assert distance.tolist() == [1, 1, 1, 1]
    assert assigner.assign(rows).tolist() == [1, 0, 1, 0]


def test_distance_to_a_partition_is_to_its_nearest_prototype(assigner):
    """Each partition's distance is that of its nearest prototype."""
    distances = assigner.distances_to_partitions(np.array([[5.0], [19.0]], np.float32))

    assert distances.tolist() == [[1, 5], [1, 9]]


def test_nearest_agrees_with_every_distance():
    """Against plain distances to every prototype, partition, atom and distance are right."""
    assigner = random_assigner()
    rows = np.random.default_rng(1).normal(size=(300, 17)).astype(np.float32)

    partition, atom, distance = assigner.nearest(rows)

    every = np.linalg.norm(rows[:, None] - assigner.prototypes[None], axis=2)
    nearest = every.argmin(axis=1)
    np.testing.assert_array_equal(atom, assigner.prototype_atom[nearest])
    np.testing.assert_array_equal(partition, assigner.atom_partition[atom])
    np.testing.assert_allclose(distance, every.min(axis=1), rtol=1e-5)


@pytest.mark.parametrize("size", [1, 13, 256])
def test_result_of_a_row_does_not_depend_on_batch_mates(size):
    """The same rows in other batches and another order give the same bits."""
    assigner = random_assigner()
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(400, 17)).astype(np.float32)
    order = rng.permutation(400)

    whole = assigner.distances_to_partitions(rows)[order]
    batches = [rows[order][s : s + size] for s in range(0, 400, size)]

    parts = np.concatenate([assigner.distances_to_partitions(batch) for batch in batches])
    np.testing.assert_array_equal(parts, whole)


def test_no_rows_give_no_partitions(assigner):
    """An empty shard is assigned like any other."""
    assert [len(part) for part in assigner.nearest(np.empty((0, 1), np.float32))] == [0, 0, 0]


def test_atom_assigner_survives_its_file(tmp_path):
    """What is loaded assigns with the same bits and keeps its bounds."""
    assigner = random_assigner()
    rows = np.random.default_rng(1).normal(size=(30, 17)).astype(np.float32)

    assigner.save(tmp_path / "assigner.safetensors")
    loaded = load_assigner(tmp_path / "assigner.safetensors")

    for ours, theirs in zip(assigner.nearest(rows), loaded.nearest(rows), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (loaded.bounds, loaded.training_rows) == (assigner.bounds, 9)


def test_column_value_is_the_partition():
    """A known value has its partition; an unseen or missing one has none."""
    assigner = ColumnAssigner("colour", ["red", "blue"], np.array([5, 3]))

    partition = assigner.from_values(["blue", "red", "green", None])

    assert partition.tolist() == [1, 0, -1, -1]
    assert partition.dtype == np.int32


def test_column_of_numbers_is_read_by_value():
    """Numbers are the same value whatever their type; NaN is missing."""
    assigner = ColumnAssigner("size", ["1", "2.5"], np.array([5, 3]))

    values = [1, 1.0, np.float32(2.5), np.int64(1), float("nan"), 3]

    assert assigner.from_values(values).tolist() == [0, 0, 1, 0, -1, -1]


@pytest.mark.parametrize(
    ("value", "text"),
    [(-0.0, "0"), (1e300, str(int(1e300))), (0.1, "0.1"), (float("inf"), "inf"), ("1", "1")],
)
def test_value_text_is_the_same_for_equal_values(value, text):
    """Numbers have one text each."""
    assert value_text(value) == text


def test_column_assigner_survives_its_file(tmp_path):
    """What is loaded knows the same values."""
    ColumnAssigner("colour", ["red", "blue"], np.array([5, 3])).save(tmp_path / "a.safetensors")

    loaded = load_assigner(tmp_path / "a.safetensors")

    assert loaded.column == "colour"
    assert loaded.partitions == 2
    assert loaded.assign(np.empty((2, 1), np.float32), ["blue", "x"]).tolist() == [1, -1]


def test_column_assigner_without_values_is_a_mistake():
    """Assigning by column needs the column."""
    with pytest.raises(ValueError, match="values of column 'colour'"):
        ColumnAssigner("colour", ["red"], np.array([5])).assign(np.empty((2, 1), np.float32))


def test_state_of_something_else_is_refused():
    """State that is not an assigner's is named."""
    with pytest.raises(CorruptError, match="unknown assigner, None"):
        assigner_from_state({}, {})


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


@pytest.mark.parametrize(("scale", "origin"), [(1.0, 0.0), (1e-3, 7.0), (1.0, 1e4), (1e-20, 0.0)])
def test_nearest_is_the_least_of_the_distances_to_partitions(scale, origin):
    """Also for rows between two atoms, upon one, far off, and for atoms that coincide."""
    rng = np.random.default_rng(3)
    points = rng.normal(size=(60, 6)) + origin
    points[41] = points[2]
    points = (points * scale).astype(np.float32)
    partition = (np.arange(60) // 10).astype(np.int32)
    assigner = AtomAssigner(points, np.arange(60, dtype=np.int32), partition, Bounds(0, 9), 9)
    rows = (points[rng.integers(0, 60, 900)] + scale * rng.normal(size=(900, 6))).astype(np.float32)
    rows[:60], rows[60:119] = points, (points[:-1] + points[1:]) / 2
    rows[200:240] = rows[240:280] + np.float32(scale) * rng.normal(size=(40, 1)).astype(np.float32)
    rows[-2], rows[-1] = np.nan, 1e30

    found, atom, distance = assigner.nearest(rows)

    distances = assigner.distances_to_partitions(rows)
    np.testing.assert_array_equal(found, distances.argmin(axis=1))
    np.testing.assert_array_equal(distance, distances.min(axis=1))
    np.testing.assert_array_equal(partition[atom], found)
