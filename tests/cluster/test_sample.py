"""The sample of training rows."""

import numpy as np
import pytest

from shoal.cluster.sample import training_sample
from shoal.errors import DataError
from shoal.formats.hashing import uniform
from shoal.formats.kinds import TRAIN


def test_sample_is_the_rows_with_the_smallest_draws(tmp_path, shards):
    """The sample is the training rows that draw the smallest numbers, in that order."""
    rows = shards.random_rows(400)
    files = shards.write(tmp_path, "a", rows)

    sample, training_rows = training_sample([files.encoded], files.fitted, 20, seed=3)

    training = rows[rows.fold == TRAIN]
    smallest = np.argsort(uniform(training.key, 3, "cluster"))[:20]
    np.testing.assert_array_equal(sample, training.embedding[smallest])
    assert training_rows == len(training)


def test_sample_does_not_depend_on_shards(tmp_path, shards):
    """However rows are cut into shards and ordered, the sample is the same."""
    rows = shards.random_rows(600)
    one = shards.write(tmp_path, "one", rows)
    shuffled = rows[np.random.default_rng(5).permutation(600)]
    parts = [shards.write(tmp_path, f"part{n}", shuffled[n * 60 : n * 60 + 60]) for n in range(10)]

    sample, _ = training_sample([one.encoded], one.fitted, 30, seed=0)
    again, _ = training_sample([p.encoded for p in parts], one.fitted, 30, seed=0)

    np.testing.assert_array_equal(sample, again)


def test_sample_of_fewer_rows_than_asked_for_is_all(tmp_path, shards):
    """A limit above the number of training rows keeps them all."""
    files = shards.write(tmp_path, "a", shards.as_training(shards.random_rows(10)))

    sample, training_rows = training_sample([files.encoded], files.fitted, 99, seed=0)

    assert len(sample) == training_rows == 10


def test_no_training_row_is_an_error(tmp_path, shards):
    """An empty training fold is named."""
    rows = shards.random_rows(20)
    files = shards.write(tmp_path, "a", rows[rows.fold != TRAIN])

    with pytest.raises(DataError, match="training fold is empty"):
        training_sample([files.encoded], files.fitted, 5, seed=0)


def test_infinite_embedding_names_its_row(tmp_path, shards):
    """An embedding that is not finite is reported with its row, counted from one."""
    rows = shards.as_training(shards.random_rows(4200))
    rows.x[4106, 1] = np.inf
    files = shards.write(tmp_path, "a", rows)

    with pytest.raises(DataError, match="embedding of row 4107 is not finite"):
        training_sample([files.encoded], files.fitted, 5000, seed=0)
