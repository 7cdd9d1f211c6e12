from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from shoal.sources.canonical import canonical
from shoal_edge.canonical import canonical_text

TABLE = {
    "True": [True, "True", "true", "TRUE"],
    "False": [False, "False", "false", "FALSE"],
    "0": [0, 0.0, -0.0, "0", "-0", "0.0", "-0.0", "0E-8", "0.", Decimal("0E-8"), Decimal("-0.00")],
    "3": [3, 3.0, "3", "3.0", "3.00", "+3", "3.", "3.0e+00", Decimal("3.000")],
    "-7": [-7, -7.0, "-7", "-7.0"],
    "0.5": [0.5, "0.5", "0.50", ".5", "+0.5", "5.0E-1", Decimal("0.50000000")],
    "0.1": [0.1, "0.1", "0.10", Decimal("0.1")],
    "40000000007": [40000000007, 40000000007.0, "40000000007", "40000000007.0", "4.0000000007e+10"],
    "40000000000": [4e10, "4e+10", "4.0E10", Decimal("4E+10")],
    "9007199254740992": [2**53, 2.0**53, "9007199254740992.0"],
    "1152921504606846976": [2**60, 2.0**60, "1.152921504606847e+18"],
    "18446744073709551615": [2**64 - 1, "18446744073709551615"],
    "0.00001": [1e-5, "0.00001", "1e-05", "1E-5", "0.000010", Decimal("0.00001")],
    "123456789012345678901234567890": ["123456789012345678901234567890"],
    "2020-01-02": [
        *(date(2020, 1, 2), datetime(2020, 1, 2), datetime(2020, 1, 2, tzinfo=UTC)),
        *("2020-01-02", "2020-01-02 00:00:00", "2020-01-02T00:00", "2020-01-02T00:00:00.000Z"),
        "2020-01-02 01:00:00+0100",
    ],
    "2020-01-02T11:30:00.25": [
        datetime(2020, 1, 2, 11, 30, 0, 250000),
        datetime(2020, 1, 2, 12, 30, 0, 250000, tzinfo=timezone(timedelta(hours=1))),
        *("2020-01-02 11:30:00.25", "2020-01-02T11:30:00.250000Z", "2020-01-02T12:30:00.25+01:00"),
    ],
    **{code: [code] for code in ("007", "1e2", "7E10", "v3.0", "1.0.0", "0x10", "+", ".", "yes")},
    **{code: [code] for code in ("true ", " 3", "tRue", "2020-13-01 10:00", "1.5e+999", "inf")},
}


@pytest.mark.parametrize("text", TABLE)
def test_a_value_has_one_text(text):
    """Whatever a value's type or spelling, its text is the same; codes stay to the letter."""
    assert {canonical_text(value) for value in TABLE[text]} == {text}
    for value in TABLE[text]:
        is_large = type(value) is int and value >= 2**63
        column = pa.array([value], pa.uint64() if is_large else None)
        assert canonical(column).to_pylist() == [text], value


def test_a_text_is_its_own_text():
    """A canonical text stays: typing twice changes nothing."""
    assert canonical(pa.array(list(TABLE))).to_pylist() == list(TABLE)


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()], ids=str)
def test_floats_have_the_shortest_digits_of_their_type(kind):
    """A number of fewer bits is the one that its digits say, as a CSV file of it would."""
    assert canonical(pa.array([0.1, 3, None, np.nan], kind)).to_pylist() == ["0.1", "3", None, None]


def test_short_floats_of_any_size_are_written_out():
    """A 32-bit 4e10 is the category that an integer column has."""
    assert canonical(pa.array([4e10], pa.float32())).to_pylist() == ["40000000000"]
    assert canonical_text(np.float32(4e10)) == "40000000000"


def test_times_keep_their_last_digit():
    """Two times a nanosecond apart are two ids."""
    column = pa.array([0, 1], pa.timestamp("ns", "Europe/Berlin"))

    assert canonical(column).to_pylist() == ["1970-01-01", "1970-01-01T00:00:00.000000001"]
    assert canonical_text("1970-01-01 01:00:00.000000001+01:00") == canonical(column)[1].as_py()


def test_missing_stays_missing():
    """Null and NaN have no text."""
    assert canonical(pa.array([None, "a"])).to_pylist() == [None, "a"]
    assert [canonical_text(value) for value in (None, np.nan, Decimal("NaN"))] == [None] * 3
