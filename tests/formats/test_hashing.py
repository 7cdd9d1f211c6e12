"""Identities of settings, rows and multisets of rows."""

import numpy as np
import pytest

from shoal.formats.hashing import (
    ROW_HASH_BYTES,
    hash_rows,
    multiset_change,
    multiset_digest,
    multiset_sum,
    row_hashes,
    row_order,
    settings_id,
    uniform,
)


def hashes(*values: float) -> np.ndarray:
    return hash_rows({"x": np.array(values)}, 32)


def test_settings_id_ignores_the_order_of_keys():
    """Equal settings have equal ids, however they are written down."""
    assert settings_id({"a": 1, "b": 2}) == settings_id({"b": 2, "a": 1})
    assert settings_id({"a": 1, "b": 2}) != settings_id({"a": 2, "b": 1})


def test_multiset_sum_ignores_order_and_sees_multiplicity():
    """The same rows in any order sum alike; a row twice is another multiset."""
    assert multiset_sum(hashes(1, 2, 3)) == multiset_sum(hashes(3, 1, 2))
    assert multiset_sum(hashes(1, 2, 2)) != multiset_sum(hashes(1, 2))


def test_multiset_sum_adds_over_parts():
    """The sum of a whole is the sum of its parts: shards need not agree on a cut."""
    whole = multiset_sum(hashes(1, 2, 3, 4))

    parts = multiset_sum(hashes(1, 4)) + multiset_sum(hashes(2, 3))

    assert whole == parts % (1 << 256)


def test_multiset_sum_equals_plain_integer_addition():
    """The vectorised sum is the sum of the hashes as 256-bit integers."""
    rows = hashes(*range(100))

    expected = sum(int.from_bytes(row.tobytes(), "little") for row in rows) % (1 << 256)

    assert multiset_sum(rows) == expected


def test_digest_depends_on_sum_count_and_lineage():
    """Any of the three changes the digest."""
    digests = {
        multiset_digest(1, 1, "a"),
        multiset_digest(2, 1, "a"),
        multiset_digest(1, 2, "a"),
        multiset_digest(1, 1, "b"),
    }

    assert len(digests) == 4


def test_row_hash_ignores_column_order_and_number_type():
    """1 and 1.0 are the same value, and columns are known by name."""
    a = hash_rows({"n": np.array([1, 2]), "s": np.array(["x", None], dtype=object)}, 16)
    b = hash_rows({"s": np.array(["x", None], dtype=object), "n": np.array([1.0, 2.0])}, 16)

    assert (a == b).all()


def test_hashes_of_rows_are_what_they_have_always_been():
    """Keys are such hashes, and folds follow from keys: a test row has to stay one."""
    columns = {"n": np.array([1.5, np.nan]), "s": np.array(["x", None], dtype=object)}

    assert [row.tobytes().hex() for row in hash_rows(columns, 16)] == [
        "1bab537eb4b7257c104c283893e45a03",
        "eed74f975532f9d05853f1ac028fb249",
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [(0.0, -0.0), (np.nan, -np.nan)],
)
def test_row_hash_knows_one_zero_and_one_missing(first: float, second: float):
    """Values that no user tells apart have one hash."""
    assert (hashes(first) == hashes(second)).all()


def test_row_hash_tells_missing_text_from_empty_text():
    """None and the empty string are different content."""
    rows = hash_rows({"s": np.array(["", None], dtype=object)}, 16)

    assert (rows[0] != rows[1]).any()


def test_uniform_is_a_function_of_key_and_salt():
    """A row's draw does not depend on other rows; another salt is another draw."""
    keys = hash_rows({"x": np.arange(1000.0)}, 16)

    draws = uniform(keys, 0, "split")

    assert (uniform(keys[::-1], 0, "split")[::-1] == draws).all()
    assert (uniform(keys, 1, "split") != draws).all()
    assert 0 <= draws.min() < 0.01
    assert 0.99 < draws.max() < 1


def test_row_order_sorts_by_the_bytes_of_the_hash():
    """The canonical order is that of the hashes as byte strings."""
    rows = hashes(*range(50))

    ordered = [row.tobytes() for row in rows[row_order(rows)]]

    assert ordered == sorted(ordered)


def test_a_change_of_a_multiset_counts_what_came_and_what_went():
    """Rows are counted as often as they occur, whatever their order."""
    a, b, c = (np.full((1, ROW_HASH_BYTES), value, dtype=np.uint8) for value in (1, 2, 3))
    before, after = np.concatenate([a, a, b]), np.concatenate([c, a, c, b])

    assert multiset_change(before, after) == (2, 1)
    assert multiset_change(after, before) == (1, 2)
    assert multiset_change(before[:0], before[:0]) == (0, 0)


def test_a_row_hash_is_of_all_that_tells_rows_apart():
    """Source, salt and, but for training rows, key and unit; so do two rows that swap keys."""
    source, key = (hash_rows({name: np.arange(200.0)}, 16) for name in "sk")
    unit, folds = np.arange(200, dtype=np.uint64) // 2, np.repeat([0, 1], 100).astype(np.uint8)

    made = row_hashes(source, folds, [key, unit], "ab" * 16)

    assert made.dtype == np.uint8
    assert made.shape == (200, 32)
    assert (made[:, :16] == source).all()
    assert len({row.tobytes() for row in made}) == 200
    swapped = np.r_[np.arange(98), 99, 98, 101, 100, np.arange(102, 200)]
    for other in (
        row_hashes(source, folds, [key[swapped], unit], "ab" * 16),
        row_hashes(source, folds, [key, unit[::-1]], "ab" * 16),
    ):
        assert (other[:100] == made[:100]).all()
        assert multiset_sum(other) != multiset_sum(made)
    assert (row_hashes(source, folds, [key, unit], "cd" * 16) != made).any(axis=1).all()
    place = [7, 150]
    alone = row_hashes(source[place], folds[place], [key[place], unit[place]], "ab" * 16)
    assert (alone == made[place]).all()
    assert row_hashes(source[:0], folds[:0], [key[:0], unit[:0]], "ab" * 16).shape == (0, 32)


def test_bits_of_row_hashes_are_spread_evenly():
    """Each bit of the part that is mixed is set in about half of the rows, alike sources or not."""
    sources = np.zeros((4096, 16), np.uint8)
    sources[:, :2] = np.arange(4096, dtype="<u2")[:, None].view(np.uint8)

    made = row_hashes(sources, np.zeros(4096, np.uint8), [], "00" * 15 + "01")

    share = np.unpackbits(made[:, 16:], axis=1).mean(axis=0)
    assert np.abs(share - 0.5).max() < 5 * 0.5 / np.sqrt(4096)
