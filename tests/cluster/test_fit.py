"""From a sample to an assigner."""

import numpy as np
import pytest

from shoal.cluster.fit import fit_assigner
from shoal.errors import DataError
from shoal.settings.discovery import HDBSCANAtoms, KMeansAtoms

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


def blobs(counts, seed=0):
    """Rows around far centres, in an order of their own, and their blob."""
    rng = np.random.default_rng(seed)
    blob = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    centres = 20.0 * rng.normal(size=(len(counts), 3))
    return (centres[blob] + rng.normal(size=(len(blob), 3))).astype(np.float32), blob


@METHODS
def test_partitions_of_blobs_are_the_blobs(settings):
    """Where blobs keep the bounds, they are the partitions."""
    sample, blob = blobs([60, 50, 40])

    assigner, flops = fit_assigner(settings, sample, 150)

    assert assigner.assign(sample).tolist() == blob.tolist()
    assert flops > 0


@METHODS
def test_partitions_keep_the_bounds_of_the_sample(settings):
    """A blob above the upper bound is shared out, every partition keeps the bounds."""
    sample, _ = blobs([120, 15, 15])

    assigner, _ = fit_assigner(settings.model_copy(update={"upper": 1.3}), sample, 150)

    counts = np.bincount(assigner.assign(sample), minlength=3)
    assert counts.min() >= 25
    assert counts.max() <= 65


@METHODS
def test_number_of_partitions_is_found(settings):
    """``auto`` finds as many partitions as there are blobs."""
    sample, blob = blobs([40, 40, 40, 40], seed=1)

    assigner, _ = fit_assigner(settings.model_copy(update={"partitions": "auto"}), sample, 160)

    assert assigner.partitions == 4
    assert len(set(zip(assigner.assign(sample).tolist(), blob.tolist(), strict=True))) == 4


def test_auto_of_one_partition_is_one():
    """``auto`` with at most one partition gives one."""
    one = KMEANS.model_copy(update={"partitions": "auto", "max_partitions": 1})

    assert fit_assigner(one, blobs([20, 20])[0], 40)[0].partitions == 1


def test_auto_without_enough_rows_says_so():
    """Where no number of partitions can be judged, the message says to set it."""
    auto = KMEANS.model_copy(update={"partitions": "auto"})

    with pytest.raises(DataError, match=r"2 training rows are too few .* set it to a number"):
        fit_assigner(auto, np.array([[0.0], [1.0]], np.float32), 2)


def test_bounds_are_kept_in_training_rows():
    """The bounds are those of all training rows, also where the sample is smaller."""
    assigner, _ = fit_assigner(KMEANS, blobs([50, 50, 50])[0], 3000)

    assert (assigner.bounds.lower, assigner.bounds.upper) == (500, 2000)
    assert assigner.training_rows == 3000


def test_few_hdbscan_atoms_are_made_finer():
    """Two atoms still make three partitions: they are split until a merge exists."""
    sample, _ = blobs([60, 60])

    assigner, _ = fit_assigner(HDBSCAN, sample, 120)

    assert np.bincount(assigner.assign(sample)).min() >= 20


def test_same_sample_gives_the_same_assigner():
    """Fitting twice gives the same bits."""
    sample, _ = blobs([30, 30, 30])

    first, second = (fit_assigner(KMEANS, sample, 90)[0].state() for _ in range(2))

    assert first[1] == second[1]
    for name, tensor in first[0].items():
        np.testing.assert_array_equal(tensor, second[0][name])


def test_rows_that_are_all_the_same_cannot_be_cut():
    """Equal rows make one atom, and the message says so."""
    with pytest.raises(DataError, match=r"1 atoms .* cannot make 3 partitions"):
        fit_assigner(KMEANS, np.ones((50, 3), np.float32), 50)
