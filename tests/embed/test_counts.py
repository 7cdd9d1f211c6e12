"""Counts of tokens, and their principal components."""

from __future__ import annotations

import numpy as np
import pytest

from shoal.embed import counts
from shoal.embed.counts import fit_counts, root_counts
from shoal.embed.pca import eigen_flops
from shoal.errors import DataError
from shoal.formats.ledger import Ledger


def texts(*words: str) -> np.ndarray:
    """Tokens of words: their bytes from 1 on, filled up with 0."""
    rows = np.zeros((len(words), max(map(len, words))), np.int64)
    for row, word in zip(rows, words, strict=True):
        row[: len(word)] = np.frombuffer(word.encode(), np.uint8).astype(int) + 1
    return rows


def test_tokens_and_pairs_are_counted_and_their_roots_taken():
    """Five letters in a row have four pairs; what stands behind the end is neither."""
    found = root_counts(texts("aaab", "abababab"), 256)

    first, second = found
    assert first[ord("a")] == pytest.approx(np.sqrt(3))
    assert first[ord("b")] == 1
    assert np.square(first[:256]).sum() == pytest.approx(4)
    assert sorted(np.square(first[256:][first[256:] > 0]).round(4)) == [1, 2]
    assert sorted(np.square(second[256:][second[256:] > 0]).round(4)) == [3, 4]


def test_a_pair_is_told_from_its_reverse():
    """The hash of a pair depends on the order of its tokens."""
    one, other = root_counts(texts("ab", "ba"), 256)

    assert np.array_equal(one[:256], other[:256])
    assert not np.array_equal(one[256:], other[256:])


def test_more_tokens_than_buckets_share_them():
    """Numbers beyond the last bucket begin with the first again."""
    found = root_counts(np.array([[1, 5, 9, 4]]), 4)

    assert np.square(found[0, :4]).round(4).tolist() == [3, 0, 0, 1]


def test_embeddings_are_components_of_standardised_counts(settings, write_shard, monkeypatch):
    """Each count relative to its mean, divided by its deviation and 0.1, in blocks of any size."""
    monkeypatch.setattr(counts, "_COUNTED_ROWS", 70)
    tokens = np.random.default_rng(0).integers(0, 7, (400, 9))
    embedder = fit_counts(settings("counts"), [write_shard("a", tokens)], (9,), Ledger("t"))

    raw = root_counts(tokens, 8).astype(np.float64)
    scaled = (raw - raw.mean(axis=0)) / (raw.std(axis=0) + 0.1)
    exact = scaled @ np.linalg.svd(scaled, full_matrices=False)[2][:5].T
    embedding = embedder.embed(tokens)
    signs = np.sign((embedding * exact).sum(axis=0))
    assert embedding * signs == pytest.approx(exact, abs=1e-4)


def test_texts_of_other_letters_lie_apart(settings, write_shard):
    """Rows of one alphabet are nearer to each other than to those of another."""
    rng = np.random.default_rng(1)
    words = ["".join(rng.choice(list(kind), 30)) for kind in ("abcd", "wxyz") for _ in range(40)]
    tokens = texts(*words)
    path = write_shard("a", tokens)

    first = fit_counts(settings("counts", buckets=256), [path], (30,), Ledger("t")).embed(tokens)

    signs = np.sign(first[:, 0])
    assert abs(signs[:40].sum()) == abs(signs[40:].sum()) == 40
    assert signs[0] != signs[40]


def test_ledger_counts_the_sample_alone(settings, write_shard):
    """The scatter matrix of the rows that are drawn, and its eigenvectors."""
    ledger = Ledger("t")
    tokens = np.random.default_rng(0).integers(1, 9, (400, 9))

    embedder = fit_counts(settings("counts", fit_rows=50), [write_shard("a", tokens)], (9,), ledger)

    assert (ledger.rows_read, ledger.rows_seen) == (400, 50)
    assert ledger.flops == 50 * 16**2 + eigen_flops(16, 5)
    assert embedder.flops_per_row == 2 * 16 * 5


@pytest.mark.parametrize(
    ("fold", "said"), [(1, "training fold has no rows"), (0, "all 3 training rows are equal")]
)
def test_nothing_to_tell_apart_is_a_data_error(settings, write_shard, fold, said):
    """No training row, or the same one again and again."""
    path = write_shard("a", texts("ab", "ab", "ab"), [fold] * 3)

    with pytest.raises(DataError, match=said):
        fit_counts(settings("counts"), [path], (2,), Ledger("t"))
