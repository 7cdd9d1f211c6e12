"""Atoms, their split and merge, and the assigner that follows."""

from __future__ import annotations

import numpy as np
import pytest

from shoal.cluster.fit import fit_assigner, hdbscan_atoms, kmeans_atoms, split_large
from shoal.errors import DataError
from shoal.settings.discovery import HDBSCANAtoms, KMeansAtoms


def blobs(counts, spread=0.05, seed=0):
    """Rows around (0, 0), (10, 0), (20, 0), ... in an order of their own, and their blob."""
    rng = np.random.default_rng(seed)
    blob = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    centres = np.stack([10.0 * blob, np.zeros(len(blob))], axis=1)
    return (centres + spread * rng.normal(size=centres.shape)).astype(np.float32), blob


def same_cut(a, b):
    """Whether two labellings cut the rows alike, whatever the numbers."""
    pairs = set(zip(a.tolist(), b.tolist(), strict=True))
    return len(pairs) == len(set(a.tolist())) == len(set(b.tolist()))


def test_kmeans_finds_blobs():
    """Well separated blobs are the atoms."""
    sample, blob = blobs([30, 20, 10])

    assert same_cut(kmeans_atoms(sample, 3, seed=0).labels(sample), blob)


def test_kmeans_prototypes_are_the_means():
    """An atom's prototype is the mean of its rows."""
    sample, blob = blobs([30, 20])

    prototypes = kmeans_atoms(sample, 2, seed=0).prototypes

    means = np.stack([sample[blob == b].mean(axis=0) for b in (0, 1)])
    np.testing.assert_allclose(prototypes[np.argsort(prototypes[:, 0])], means, atol=1e-5)


def test_kmeans_flops_count_every_iteration():
    """FLOPs are 2 n k d for each iteration of each start."""
    sample, _ = blobs([30, 20])

    flops = kmeans_atoms(sample, 2, seed=0).flops

    iteration = 2 * 50 * 2 * 2
    assert flops % iteration == 0
    assert flops >= 3 * iteration


def test_fewer_distinct_rows_than_atoms_give_fewer_atoms():
    """Rows that are the same cannot make several atoms."""
    sample = np.repeat(np.array([[0, 0], [1, 1]], np.float32), 5, axis=0)

    atoms = kmeans_atoms(sample, 6, seed=0)

    assert atoms.count == 2
    assert sorted(np.bincount(atoms.labels(sample))) == [5, 5]


def test_more_atoms_than_rows_give_an_atom_a_row():
    """The number of atoms is at most the number of rows."""
    sample, _ = blobs([3])

    assert kmeans_atoms(sample, 64, seed=0).count == 3


def test_hdbscan_finds_shapes_that_kmeans_does_not():
    """Two nested rings are two atoms, and each row has its ring's atom."""
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    sample = np.concatenate([ring, 5 * ring]).astype(np.float32)

    labels = hdbscan_atoms(sample, 10).labels(sample)

    assert same_cut(labels, np.repeat([0, 1], 200))


def test_hdbscan_gives_noise_to_the_nearest_atom():
    """A row that is in no cluster belongs to the atom of its nearest row."""
    sample, blob = blobs([40, 40])
    noise = np.array([[-3.0, 1.0], [13.0, -1.0]], np.float32)

    atoms = hdbscan_atoms(np.concatenate([sample, noise]), 10)

    first = atoms.labels(sample)[blob == 0][0], atoms.labels(sample)[blob == 1][0]
    assert tuple(atoms.labels(noise)) == first


def test_hdbscan_without_a_cluster_says_what_to_change():
    """No cluster at all is an error with advice."""
    sample = np.random.default_rng(0).uniform(size=(20, 2)).astype(np.float32)

    with pytest.raises(DataError, match=r"no cluster among 20 rows; lower .*min_cluster_size"):
        hdbscan_atoms(sample, 15)


def test_hdbscan_with_fewer_rows_than_a_cluster_is_an_error():
    """A sample smaller than the smallest atom has no cluster."""
    with pytest.raises(DataError, match="no cluster among 3 rows"):
        hdbscan_atoms(blobs([3])[0], 10)


def test_hdbscan_keeps_a_bounded_number_of_prototypes(monkeypatch):
    """Prototypes are thinned evenly, and every atom keeps some."""
    monkeypatch.setattr("shoal.cluster.fit._MOST_PROTOTYPES", 20)
    sample, blob = blobs([150, 15])

    atoms = hdbscan_atoms(sample, 10)

    assert len(atoms.prototypes) <= 21
    assert same_cut(atoms.labels(sample), blob)


def test_large_atoms_are_split_until_they_fit():
    """No atom keeps more rows than the limit, and every row still has one."""
    sample, _ = blobs([100, 10])
    atoms = kmeans_atoms(sample, 2, seed=0)

    split = split_large(atoms, sample, 30, seed=0)

    counts = np.bincount(split.labels(sample), minlength=split.count)
    assert counts.max() <= 30
    assert counts.min() > 0
    assert counts.sum() == 110
    assert split.flops > atoms.flops


def test_large_hdbscan_atoms_are_split_too():
    """An atom of many prototypes is split among them."""
    sample, _ = blobs([100, 20])

    split = split_large(hdbscan_atoms(sample, 10), sample, 40, seed=0)

    assert np.bincount(split.labels(sample)).max() <= 40


def test_equal_rows_are_never_split():
    """An atom of equal rows stays whole, whatever the limit."""
    sample = np.ones((10, 2), np.float32)
    atoms = kmeans_atoms(sample, 1, seed=0)

    assert split_large(atoms, sample, 3, seed=0).count == 1


KMEANS = KMeansAtoms(
    method="kmeans",
    partitions=3,
    max_partitions=6,
    atoms=12,
    lower=0.5,
    upper=2.0,
    fit_rows=1000,
    min_rows=1,
    seed=0,
)
HDBSCAN = HDBSCANAtoms(
    method="hdbscan",
    partitions=3,
    max_partitions=6,
    min_cluster_size=10,
    lower=0.5,
    upper=2.0,
    fit_rows=1000,
    min_rows=1,
    seed=0,
)
METHODS = pytest.mark.parametrize("settings", [KMEANS, HDBSCAN], ids=["kmeans", "hdbscan"])


def blobs_fit(counts, seed=0):
    """Rows around far centres, in an order of their own, and their blob."""
    rng = np.random.default_rng(seed)
    blob = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    centres = 20.0 * rng.normal(size=(len(counts), 3))
    return (centres[blob] + rng.normal(size=(len(blob), 3))).astype(np.float32), blob


@METHODS
def test_partitions_of_blobs_are_the_blobs(settings):
    """Where blobs_fit keep the bounds, they are the partitions."""
    sample, blob = blobs_fit([60, 50, 40])

    assigner, flops = fit_assigner(settings, sample, 150)

    assert assigner.assign(sample).tolist() == blob.tolist()
    assert flops > 0


@METHODS
def test_partitions_keep_the_bounds_of_the_sample(settings):
    """A blob above the upper bound is shared out, every partition keeps the bounds."""
    sample, _ = blobs_fit([120, 15, 15])

    assigner, _ = fit_assigner(settings.model_copy(update={"upper": 1.3}), sample, 150)

    counts = np.bincount(assigner.assign(sample), minlength=3)
    assert counts.min() >= 25
    assert counts.max() <= 65


@METHODS
def test_number_of_partitions_is_found(settings):
    """``auto`` finds as many partitions as there are blobs_fit."""
    sample, blob = blobs_fit([40, 40, 40, 40], seed=1)

    assigner, _ = fit_assigner(settings.model_copy(update={"partitions": "auto"}), sample, 160)

    assert assigner.partitions == 4
    assert len(set(zip(assigner.assign(sample).tolist(), blob.tolist(), strict=True))) == 4


def test_auto_of_one_partition_is_one():
    """``auto`` with at most one partition gives one."""
    one = KMEANS.model_copy(update={"partitions": "auto", "max_partitions": 1})

    assert fit_assigner(one, blobs_fit([20, 20])[0], 40)[0].partitions == 1


def test_auto_without_enough_rows_says_so():
    """Where no number of partitions can be judged, the message says to set it."""
    auto = KMEANS.model_copy(update={"partitions": "auto"})

    with pytest.raises(DataError, match=r"2 training rows are too few .* set it to a number"):
        fit_assigner(auto, np.array([[0.0], [1.0]], np.float32), 2)


def test_bounds_are_kept_in_training_rows():
    """The bounds are those of all training rows, also where the sample is smaller."""
    assigner, _ = fit_assigner(KMEANS, blobs_fit([50, 50, 50])[0], 3000)

    assert (assigner.bounds.lower, assigner.bounds.upper) == (500, 2000)
    assert assigner.training_rows == 3000


def test_few_hdbscan_atoms_are_made_finer():
    """Two atoms still make three partitions: they are split until a merge exists."""
    sample, _ = blobs_fit([60, 60])

    assigner, _ = fit_assigner(HDBSCAN, sample, 120)

    assert np.bincount(assigner.assign(sample)).min() >= 20


def test_same_sample_gives_the_same_assigner():
    """Fitting twice gives the same bits."""
    sample, _ = blobs_fit([30, 30, 30])

    first, second = (fit_assigner(KMEANS, sample, 90)[0].state() for _ in range(2))

    assert first[1] == second[1]
    for name, tensor in first[0].items():
        np.testing.assert_array_equal(tensor, second[0][name])


def test_rows_that_are_all_the_same_cannot_be_cut():
    """Equal rows make one atom, and the message says so."""
    with pytest.raises(DataError, match=r"1 atoms .* cannot make 3 partitions"):
        fit_assigner(KMEANS, np.ones((50, 3), np.float32), 50)
