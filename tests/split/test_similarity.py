"""Clusters of nearly identical rows."""

import numpy as np
import pyarrow as pa
import pytest

from shoal.formats.hashing import derived
from shoal.split.folds import Basis, folds_of
from shoal.split.similarity import clusters, fit_similarity, signatures

LETTERS = np.array(list("ACGT"))


@pytest.fixture
def text(columns):
    """One text and a class."""
    return columns(t="text", y="label")


@pytest.fixture
def table():
    """Typed rows of some columns."""

    def make(columns, **values):
        arrays = {name: pa.array(v, columns.arrow_type(name)) for name, v in values.items()}
        return pa.table(arrays)

    return make


def families(number, copies, length=80, seed=0):
    """Sequences in families whose members differ from the first in one letter; family of each."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(number):
        base = rng.choice(LETTERS, length)
        for _ in range(copies):
            member = base.copy()
            place = rng.integers(length)
            member[place] = LETTERS[(np.flatnonzero(member[place] == LETTERS)[0] + 1) % 4]
            out.append("".join(member))
    return out, np.repeat(np.arange(number), copies)


def some_keys(texts):
    rows = np.array([list(text.ljust(200).encode()) for text in texts], dtype=np.uint8)
    return derived(rows, 16)


def same_partition(one, other):
    """Whether two numberings put the same rows together."""
    return (
        len(set(zip(one.tolist(), other.tolist(), strict=True))) == len(set(one)) == len(set(other))
    )


def test_nearly_identical_texts_are_one_cluster(text, table, split_settings):
    """Sequences that differ in a letter or two come together, others do not."""
    texts, family = families(60, 5)
    settings = split_settings("similarity", similarity=0.6)

    found = clusters(signatures(table(text, t=texts), text, settings), 0.6)

    assert same_partition(found, family)


def test_the_share_of_parts_decides(text, table, split_settings):
    """Two texts with three quarters of their parts in common are alike at 0.6, not at 0.9."""
    one = "".join(np.random.default_rng(0).choice(LETTERS, 100))
    signed = signatures(table(text, t=[one, one[:86]]), text, split_settings("similarity"))

    assert len(set(clusters(signed, 0.6).tolist())) == 1
    assert len(set(clusters(signed, 0.95).tolist())) == 2


def test_signatures_agree_as_rows_do(text, table, split_settings):
    """The share of equal hashes estimates the Jaccard similarity of the substrings."""
    rng = np.random.default_rng(1)
    one, other = "".join(rng.choice(LETTERS, 150)), "".join(rng.choice(LETTERS, 150))
    texts = [one, one[:100] + other[:50], one[:50] + other[:100], other]
    sets = [{each[place : place + 7] for place in range(len(each) - 6)} for each in texts]
    settings = split_settings("similarity", characters=7)

    signed = signatures(table(text, t=texts), text, settings)

    for place in range(4):
        true = len(sets[0] & sets[place]) / len(sets[0] | sets[place])
        assert (signed[0] == signed[place]).mean() == pytest.approx(true, abs=0.12)


def test_numbers_and_categories_are_compared(columns, table, split_settings):
    """Numbers agree to some digits, categories and gaps exactly."""
    kinds = columns(a="numeric", b="numeric", c="categorical", y="label")
    rows = table(
        kinds,
        a=[1.0, 1.0001, 1.2, 0.0, -0.0, None, None],
        b=[23.4, 23.40001, 23.4, 5.0, 5.0, 7.0, 7.0],
        c=["u", "u", "u", None, None, "v", "w"],
    )

    found = clusters(signatures(rows, kinds, split_settings("similarity")), 0.8).tolist()

    assert found[0] == found[1]
    assert found[3] == found[4]
    assert len(set(found)) == 5


def test_texts_shorter_than_a_part_are_whole(text, table, split_settings):
    """Short, empty and missing texts are alike only where they are the same."""
    signed = signatures(
        table(text, t=["ab", "ab", "AB", "a", "", None]), text, split_settings("similarity")
    )

    found = clusters(signed, 0.5).tolist()

    assert found[0] == found[1] == found[2]
    assert len(set(found)) == 4


def test_a_cluster_is_in_one_fold(text, table, split_settings):
    """Nearly identical rows end on one side, and folds have their shares to a cluster's size."""
    texts, family = families(100, 4)
    keys = some_keys(texts)
    settings = split_settings("similarity", similarity=0.6)

    state = fit_similarity(keys, signatures(table(text, t=texts), text, settings), settings)
    folds = folds_of(settings, state, Basis(keys, "a.csv", 1))

    assert all(len(set(folds[family == number].tolist())) == 1 for number in range(100))
    assert np.bincount(folds).tolist() == pytest.approx([240, 80, 80], abs=4)


def test_the_order_of_rows_does_not_matter(text, table, split_settings):
    """Rows in another order, some of them twice, fit the same table."""
    texts, _ = families(30, 3)
    settings = split_settings("similarity", similarity=0.6)

    def fitted(texts):
        return fit_similarity(
            some_keys(texts), signatures(table(text, t=texts), text, settings), settings
        )

    one, other = fitted([*texts, texts[7]]), fitted([texts[7], *texts[::-1]])

    assert len(one["keys"]) == len(set(texts))
    assert {name: part.tobytes() for name, part in one.items()} == {
        name: part.tobytes() for name, part in other.items()
    }


def test_the_seed_deals_clusters_otherwise_and_links_the_same(text, table, split_settings):
    """Another seed is another split into the same clusters."""
    texts, _ = families(40, 3)
    keys = some_keys(texts)
    folds = []
    for seed in (0, 1):
        settings = split_settings("similarity", similarity=0.6, seed=seed)
        state = fit_similarity(keys, signatures(table(text, t=texts), text, settings), settings)
        folds.append(folds_of(settings, state, Basis(keys, "a.csv", 1)))

    assert folds[0].tolist() != folds[1].tolist()
    assert all((each.reshape(40, 3) == each.reshape(40, 3)[:, :1]).all() for each in folds)
