"""Training rows, in passing or as a bounded sample."""

from __future__ import annotations

import numpy as np

from shoal.embed.rows import READ_ROWS, sample_rows, training_rows
from shoal.formats.ledger import Ledger


def numbered(rows: int) -> np.ndarray:
    """Rows of one feature that holds their number."""
    return np.arange(rows, dtype=np.float32)[:, None]


def test_only_training_rows_pass_in_order(write_shard):
    """Rows of the training fold come once each, shard after shard; all rows read are counted."""
    paths = [
        write_shard("a", [[1], [2], [3]], [0, 1, 0]),
        write_shard("b", [[4]], [2]),
        write_shard("c", [[5], [6]], [3, 0]),
    ]
    ledger = Ledger("t")

    seen = [block["x"] for block in training_rows(paths, ("x",), ledger)]

    assert np.concatenate(seen).ravel().tolist() == [1, 3, 6]
    assert ledger.rows_read == 6


def test_blocks_are_bounded(write_shard):
    """However large a shard, few rows are in memory at once."""
    path = write_shard("a", numbered(2 * READ_ROWS + 7))

    lengths = [len(block["x"]) for block in training_rows([path], ("x",), Ledger("t"))]

    assert lengths == [READ_ROWS, READ_ROWS, 7]


def test_sample_does_not_depend_on_shards_or_order(write_shard):
    """The sample is a function of the rows, not of how they are cut or ordered."""
    x = numbered(3000)
    shuffled = np.random.default_rng(0).permutation(x)
    parts = [write_shard(str(i), part) for i, part in enumerate(np.split(shuffled, [10, 2500]))]

    one = sample_rows([write_shard("a", x)], 50, 1, "p", Ledger("t"))
    cut = sample_rows(parts, 50, 1, "p", Ledger("t"))

    assert np.array_equal(one, cut)
    assert len(one) == 50


def test_sample_depends_on_seed_and_purpose(write_shard):
    """Another seed, and another purpose, draw other rows."""
    path = write_shard("a", numbered(500))

    samples = [
        set(sample_rows([path], 20, *draw, Ledger("t")).ravel())
        for draw in ((1, "p"), (2, "p"), (1, "q"))
    ]

    assert samples[0] != samples[1]
    assert samples[0] != samples[2]


def test_of_a_row_no_more_than_its_prefix_is_kept(write_shard):
    """Passing and sampled rows are cut alike."""
    path = write_shard("a", [[1, 2, 3], [4, 5, 6]])

    (block,) = training_rows([path], ("x",), Ledger("t"), prefix=2)
    sample = sample_rows([path], 9, 0, "p", Ledger("t"), prefix=1)

    assert block["x"].tolist() == [[1, 2], [4, 5]]
    assert sorted(sample.tolist()) == [[1], [4]]


def test_sample_holds_all_where_there_are_fewer(write_shard):
    """Asking for more rows than there are gives each training row once."""
    path = write_shard("a", [[1], [2], [3]], [0, 0, 1])

    assert sorted(sample_rows([path], 9, 0, "p", Ledger("t")).ravel()) == [1, 2]
