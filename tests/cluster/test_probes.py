"""The sample of labelled rows that probes are trained and compared on."""

from dataclasses import replace

import numpy as np
import pytest

from shoal.cluster.probes import labelled_sample
from shoal.cluster.sample import training_sample
from shoal.errors import DataError
from shoal.formats.kinds import TRAIN, VALIDATION


def test_it_is_the_sample_that_atoms_are_fitted_on(tmp_path, shards):
    """Probes see the rows that other assigners are fitted on, in the same order."""
    files = shards.write(tmp_path, "a", shards.random_rows(400))

    sample, in_fold = labelled_sample([files.encoded], files.fitted, TRAIN, 20, seed=3)

    embedding, training_rows = training_sample([files.encoded], files.fitted, 20, seed=3)
    np.testing.assert_array_equal(sample.embedding, embedding)
    np.testing.assert_array_equal(sample.x, embedding)
    assert (len(sample), in_fold) == (20, training_rows)


def test_rows_of_one_key_are_ordered_by_content(tmp_path, shards):
    """Rows that differ in their label alone stand in the same order, whichever comes first."""
    rows = shards.as_training(shards.random_rows(50))
    turned = replace(rows, y=1 - rows.y)
    orders = [(rows, turned), (turned, rows)]

    samples = []
    for n, parts in enumerate(orders):
        files = [shards.write(tmp_path / str(n), f"s{m}", part) for m, part in enumerate(parts)]
        paths = [f.encoded for f in files], files[0].fitted
        samples.append(labelled_sample(*paths, TRAIN, 100, seed=0)[0])

    np.testing.assert_array_equal(samples[0].key, samples[1].key)
    np.testing.assert_array_equal(samples[0].y, samples[1].y)
    assert set(samples[0].y.tolist()) == {0, 1}


def test_rows_of_unknown_labels_are_left_out(tmp_path, shards):
    """They are no rows of the sample, but rows of the fold."""
    rows = shards.as_training(shards.random_rows(30))
    rows.y[:10] = -1
    files = shards.write(tmp_path, "a", rows)

    sample, in_fold = labelled_sample([files.encoded], files.fitted, TRAIN, 100, seed=0)

    assert (len(sample), in_fold) == (20, 30)


def test_one_half_of_a_fold_can_be_asked_for(tmp_path, shards):
    """Candidates are compared on validation rows on which no grid point is chosen."""
    rows = shards.random_rows(400)
    files = shards.write(tmp_path, "a", rows)
    second = rows[(rows.fold == VALIDATION) & (rows.key[:, 0] & 1 == 1)]
    paths = [files.encoded], files.fitted

    found, _ = labelled_sample(*paths, VALIDATION, 1000, seed=0, half=1)
    few, _ = labelled_sample(*paths, VALIDATION, 7, seed=0, half=1)

    assert sorted(k.tobytes() for k in found.key) == sorted(k.tobytes() for k in second.key)
    np.testing.assert_array_equal(few.key, found.key[:7])


def test_an_empty_half_is_an_error(tmp_path, shards):
    """Where no validation row is in that half, the user is told what to do."""
    rows = shards.random_rows(400)
    files = shards.write(tmp_path, "a", rows[(rows.key[:, 0] & 1) == 0])
    paths = [files.encoded], files.fitted

    with pytest.raises(DataError, match=r"second half of the validation fold .* cluster=kmeans"):
        labelled_sample(*paths, VALIDATION, 1000, seed=0, half=1)


def test_an_embedding_that_is_not_finite_is_named(tmp_path, shards):
    """The file and the row are in the message."""
    rows = shards.as_training(shards.random_rows(10))
    rows.x[3, 0] = np.nan
    files = shards.write(tmp_path, "a", rows)

    with pytest.raises(DataError, match=r"a\.zarr\.zip: the embedding of row 4 is not finite"):
        labelled_sample([files.encoded], files.fitted, TRAIN, 100, seed=0)


def test_a_half_holds_whole_units(tmp_path, shards):
    """Where rows belong together, a unit's rows are in one half, and are known by it."""
    unit = np.random.default_rng(1).integers(1 << 62, size=20).astype(np.uint64)
    rows = shards.random_rows(400)
    files = shards.write(tmp_path, "a", rows, np.repeat(unit, 20))
    paths = [files.encoded], files.fitted

    first, second = (
        labelled_sample(*paths, VALIDATION, 1000, seed=0, half=half)[0] for half in (0, 1)
    )

    assert len(first) + len(second) == (rows.fold == VALIDATION).sum()
    assert not set(first.unit.tolist()) & set(second.unit.tolist())
    assert second.at(np.arange(3)).unit.tolist() == second.unit[:3].tolist()
