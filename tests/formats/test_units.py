"""Units: rows that are counted and tested as one."""

import numpy as np
import pytest

from shoal.formats.units import coin, leading, least_units, mean_of, numbered, units_text


def test_rows_of_their_own_have_the_ordinary_error_of_a_mean():
    """Units of one row each change nothing."""
    values = np.random.default_rng(0).normal(size=30)
    expected = values.std(ddof=1) / 30**0.5

    for units in (None, np.arange(30)[::-1].astype(np.uint64)):
        found = mean_of(values, units)
        assert found == pytest.approx((values.mean(), expected, 30))


def test_rows_that_repeat_their_unit_say_no_more_than_one_of_them():
    """The error of ten values, thirty times each, is that of the ten values."""
    values = np.random.default_rng(0).normal(size=10)
    units = np.repeat(np.arange(10), 30).astype(np.uint64)

    found = mean_of(np.repeat(values, 30), units)

    assert found == pytest.approx((values.mean(), values.std(ddof=1) / 10**0.5, 10))


def test_one_unit_has_no_error():
    """A hundred rows of one patient say nothing of other patients."""
    assert mean_of(np.arange(100.0), np.zeros(100, np.uint64)) == (49.5, np.inf, 1)


@pytest.mark.parametrize(("level", "least"), [(0.05, 5), (0.025, 6), (0.01, 7), (0.5, 2)])
def test_the_least_number_is_that_of_the_sign_test(level, least):
    """With fewer units even differences of one sign would not reject."""
    assert least_units(level) == least
    assert least == 2 or 2.0**-least <= level < 2.0 ** (1 - least)


def test_a_coin_falls_alike_for_all_rows_of_a_unit():
    """Rows of a unit go together, whatever their keys; without units the key decides."""
    rng = np.random.default_rng(0)
    key = rng.integers(256, size=(400, 16)).astype(np.uint8)
    unit = np.repeat(rng.integers(1 << 63, size=20).astype(np.uint64), 20)

    sides = coin({"key": key, "unit": unit}, 0).reshape(20, 20)

    assert (sides == sides[:, :1]).all()
    assert set(sides[:, 0]) == {0, 1}
    assert (sides[:, 0] != coin({"key": key, "unit": unit}, 1)[::20]).any()
    assert coin({"key": key}, 0).tolist() == (key[:, 0] % 2).tolist()


def test_units_are_numbered_from_zero():
    """Every number occurs, and rows of one unit share it."""
    place, count = numbered(np.array([7, 3, 7, 9], np.uint64), 4)

    assert (place.tolist(), count) == ([1, 0, 1, 2], 3)
    assert numbered(None, 2)[0].tolist() == [0, 1]


def test_counts_are_said_in_the_splits_own_words():
    """One and several; rows where nothing belongs together."""
    assert units_text(42, "group") == "42 groups"
    assert units_text(1, "time") == "1 block of time"
    assert units_text(1200, None) == "1,200 rows"


def test_a_row_is_led_by_the_smallest_key_of_those_like_it():
    """In any order of rows; rows that differ in something are apart."""
    keys = np.array([[9, 0], [1, 200], [1, 3], [0, 5], [4, 4]], np.uint8)
    units, folds = np.array([7, 7, 7, 3, 7], np.uint64), np.array([0, 0, 0, 0, 1], np.uint8)
    order = np.array([4, 2, 0, 3, 1])

    assert leading(keys, units).tolist() == [2, 2, 2, 3, 2]
    assert leading(keys, units, folds).tolist() == [2, 2, 2, 3, 4]
    np.testing.assert_array_equal(order[leading(keys[order], units[order])], [2, 2, 2, 3, 2])
