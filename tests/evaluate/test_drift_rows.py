"""Rows that differ between two lists of stores, and draws from them."""

from dataclasses import replace

import numpy as np
import pytest

from shoal.evaluate.drift_command import RowPlaces, smallest_draws, surplus
from shoal.formats.hashing import ROW_HASH_BYTES, hash_rows


def places(contents, partition=None):
    """Rows of these contents, a number each, in one store."""
    rows = len(contents)
    numbers = np.zeros(rows) if partition is None else np.array(partition)
    hashes = hash_rows({"x": np.array(contents, dtype=float)}, ROW_HASH_BYTES)
    return RowPlaces((), np.zeros(rows, "i4"), np.arange(rows), numbers.astype("i4"), hashes)


@pytest.mark.parametrize(
    ("rows", "other", "left"),
    [
        ([1, 2, 3], [2], [1, 3]),
        ([5, 5, 5, 4], [5, 5], [4, 5]),
        ([5], [5, 5, 5], []),
        ([1, 1], [], [1, 1]),
        ([], [1], []),
        ([], [], []),
    ],
)
def test_surplus_counts_copies(rows, other, left):
    """What is there more often is left as often as it is there more often."""
    found = surplus(places(rows), places(other)).row

    assert sorted(rows[place] for place in found) == left


def test_a_row_that_changed_its_partition_is_another_row():
    """It went from one and arrived in the other."""
    here, there = places([1, 2], [0, 0]), places([1, 2], [0, 1])

    assert surplus(here, there).partition.tolist() == [0]
    assert surplus(there, here).partition.tolist() == [1]


def test_draws_take_so_many_of_each_partition():
    """A large partition gives the limit, a small one all it has."""
    drawn = smallest_draws(places(range(500), [0] * 480 + [1] * 20), 100, 0, "test")

    assert np.bincount(drawn.partition).tolist() == [100, 20]


def test_the_first_drawn_rows_stand_for_all():
    """Partitions have the shares of all rows among the first, not those of the drawn ones."""
    rows = places(range(2000), [0] * 1600 + [1] * 400)

    first = smallest_draws(rows, 400, 0, "test").partition[:400]

    assert first.mean() == pytest.approx(0.2, abs=0.05)


def test_draws_depend_on_content_seed_and_purpose_alone():
    """Rows in another order draw the same contents in the same order; other seeds do not."""
    contents = np.array([*range(90), *range(10)])
    shuffled = np.random.default_rng(0).permutation(contents)

    def drawn(values, seed=0, purpose="test"):
        return values[smallest_draws(places(values), 30, seed, purpose).row].tolist()

    assert drawn(contents) == drawn(shuffled)
    assert drawn(contents) != drawn(contents, seed=1)
    assert drawn(contents) != drawn(contents, purpose="other")


def test_copies_draw_their_own_numbers():
    """Of a content with many copies a share is drawn, not all or none."""
    contents = np.array([0] * 500 + list(range(1, 501)))

    drawn = contents[smallest_draws(places(contents), 200, 0, "test").row]

    assert (drawn == 0).mean() == pytest.approx(0.5, abs=0.1)


def test_one_row_of_each_unit_is_drawn_in_each_partition():
    """The others say nothing new; without units every row is drawn."""
    rows = places(range(100), [0] * 50 + [1] * 50)
    grouped = replace(rows, unit=np.arange(100).astype(np.uint64) % np.uint64(10))

    drawn = smallest_draws(grouped, 100, 0, "test")

    assert np.bincount(drawn.partition).tolist() == [10, 10]
    assert [len(set(drawn.unit[drawn.partition == n].tolist())) for n in (0, 1)] == [10, 10]
    assert len(smallest_draws(rows, 100, 0, "test")) == 100
