import time
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from shoal.errors import SourceError
from shoal.formats.json_file import read_json, write_json
from shoal.formats.tables import Columns, image_array
from shoal.sources.columns import label_is_missing, typed, typed_inputs


def columns(task="classification", **kinds):
    shapes = {name: [2, 2] for name, kind in kinds.items() if kind == "image"}
    return Columns(kinds, task, shapes, dict.fromkeys(shapes, "uint8"), {})


def one(kind, values, task="classification", **formats):
    """A single column, typed."""
    frozen = replace(columns(task, c=kind), formats=formats)
    return typed(pa.table({"c": values}), frozen, "a.csv", 11)["c"].to_pylist()


MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"]


@pytest.mark.parametrize("kind", ["numeric", "categorical", "text", "group", "label", "time"])
def test_missing_values_are_null(kind):
    """Every spelling of a missing value is null, in columns of every kind."""
    assert one(kind, pa.array([*MISSING, None], pa.string())) == [None] * 9


def test_other_spellings_are_values():
    """Only the listed spellings are missing, and in this case of letters."""
    assert one("categorical", ["na", "none", " "]) == ["na", "none", " "]


def test_numbers_are_parsed():
    """Numbers, truth values and blanks around them have their meaning."""
    values = ["1", " 2.5 ", "-.5", "1e3", "True", "false", "+4"]

    assert one("numeric", values) == [1.0, 2.5, -0.5, 1000.0, 1.0, 0.0, 4.0]


@pytest.mark.parametrize("value", ["x", "1_0", "0x10", "1,5", "--1"])
def test_what_is_no_number_is_named(value):
    """A value that does not parse is named with file, row, column and what to do."""
    problem = rf"a\.csv: row 13, column 'c': '{value}' is not a number, .* categorical or clean"

    with pytest.raises(SourceError, match=problem):
        one("numeric", ["1", "", value])


@pytest.mark.parametrize(
    "values", [["1", "-inf"], ["1", "Infinity"], ["1", "1e999"], [1.0, -np.inf]], ids=str
)
def test_an_infinite_value_is_named(values):
    """Infinity is refused in whichever way it is stored."""
    with pytest.raises(SourceError, match=r"row 12, column 'c': .* is infinite"):
        one("numeric", values)


def test_numbers_of_every_type_are_float64():
    """Integers, decimals, truth values and short floats become the numbers they stand for."""
    for kind in (pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.decimal128(25, 1)):
        assert one("numeric", pa.array([3, None]).cast(kind)) == [3.0, None]
    assert one("numeric", [True, False]) == [1.0, 0.0]
    assert one("numeric", [1.0, float("nan")]) == [1.0, None]


def test_a_short_float_is_the_number_that_its_digits_say():
    """A 32-bit 0.1 is 0.1, as a CSV file of the same column would say."""
    assert one("numeric", pa.array([0.1], pa.float32())) == [0.1]


@pytest.mark.parametrize("kind", ["categorical", "label", "group", "id"])
def test_a_value_is_one_category_however_stored(kind):
    """Numbers, truth values and times are one name in every format; codes stay as they are."""
    assert one(kind, ["3", "3.0", "3.00"]) == one(kind, [3, 3, 3]) == ["3", "3", "3"]
    assert one(kind, pa.array([3.0, 0.5], pa.float32())) == ["3", "0.5"]
    assert one(kind, ["1.0.0", "v3.0", "03"]) == ["1.0.0", "v3.0", "03"]
    assert one(kind, [True, False]) == one(kind, ["true", "FALSE"]) == ["True", "False"]
    assert one(kind, [40000000007]) == one(kind, [40000000007.0]) == ["40000000007"]
    assert one(kind, [Decimal("0E-8"), Decimal("1.50000000")]) == ["0", "1.5"]
    assert one(kind, [datetime(2020, 1, 1)]) == one(kind, ["2020-01-01 00:00:00"]) == ["2020-01-01"]


def test_text_keeps_its_digits():
    """Free text is no name of a category: it stays to the letter."""
    assert one("text", ["3.0", "true"]) == ["3.0", "true"]
    assert one("text", [4e10]) == ["40000000000"]


def test_dictionaries_and_long_strings_are_strings():
    """Arrow's other ways to hold strings make no difference."""
    for kind in (pa.dictionary(pa.int8(), pa.string()), pa.large_string(), pa.string_view()):
        assert one("categorical", pa.array(["a", None, "3.0"]).cast(kind)) == ["a", None, "3"]


def test_times_are_seconds():
    """Dates, timestamps with and without a zone and ISO strings are one scale."""
    noon = datetime(2020, 1, 1, 12, tzinfo=UTC)

    assert one("time", ["1970-01-02", "1970-01-01T01:00:00+01:00", ""]) == [86400.0, 0.0, None]
    assert one("time", pa.array([date(1970, 1, 2)])) == [86400.0]
    assert one("time", pa.array([noon])) == [noon.timestamp()]
    assert one("time", pa.array([1500], pa.timestamp("ms"))) == [1.5]
    assert one("time", [" 19700102 ", "1970-01-02"]) == [86400.0, 86400.0]


def test_numbers_may_be_times():
    """Times that are written as numbers are taken as they are, strings or not."""
    assert one("time", ["12", " 13.5", ""], c="numbers") == [12.0, 13.5, None]
    assert one("time", [12, None], c="numbers") == [12.0, None]


@pytest.mark.parametrize(
    "values",
    [
        ["20230105"],
        ["20230105.0"],
        [20230105],
        pa.array([20230105, None], pa.float64()).slice(0, 1),
    ],
    ids=str,
)
def test_a_number_is_a_date_where_times_are_dates(values):
    """A compact date means the same alone in a batch as beside others, however it is stored."""
    day = datetime(2023, 1, 5, tzinfo=UTC).timestamp()

    assert one("time", values) == [day]
    assert one("time", ["2023-01-05"]) == [day]


@pytest.mark.parametrize(
    ("values", "written", "problem"),
    [
        (["2020-01-01", "1577836800"], "dates", "row 12, .*'1577836800' is a number, but times"),
        ([1.5], "dates", r"row 11, column 'c': '1.5' is a number, but times of this column are da"),
        (["20231301"], "dates", "'20231301' is a number, but times of this column are dates"),
        (["1", "2020-01-01"], "numbers", "row 12, .*'2020-01-01' is not a number, but times of th"),
        ([date(1970, 1, 2)], "numbers", "column 'c' holds times, but its times are numbers"),
    ],
)
def test_a_time_that_is_written_otherwise_is_named(values, written, problem):
    """How times are written is frozen: what is written otherwise is an error with its row."""
    with pytest.raises(SourceError, match=problem):
        one("time", values, c=written)


def test_a_time_without_a_zone_is_utc(monkeypatch):
    """Where the program runs makes no difference to a time."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert one("time", ["1970-01-02", "1970-01-02T00:00:00Z"]) == [86400.0, 86400.0]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_is_no_time_is_named():
    """A value that is no time is named with its place."""
    with pytest.raises(SourceError, match=r"row 12, column 'c': 'monday' is not a time"):
        one("time", ["2020-01-01", "monday"])


def test_a_regression_label_is_a_number():
    """A label is text in classification and a number in regression."""
    assert one("label", ["1.5"], "regression") == [1.5]
    assert one("label", ["1.5"]) == ["1.5"]


def image_column(values):
    return typed(pa.table({"c": values}), columns(c="image"), "a.npz", 11)["c"].chunk(0)


def test_images_have_their_frozen_shape_and_type():
    """Tensors and nested fixed-size lists are images; whole numbers fit into bytes."""
    pixels = np.arange(8).reshape(2, 2, 2)
    nested = pa.array(pixels.tolist(), pa.list_(pa.list_(pa.int16(), 2), 2))

    for values in (image_array(pixels.astype(np.float32)), nested):
        typed_values = image_column(values)
        assert typed_values.type == pa.fixed_shape_tensor(pa.uint8(), [2, 2])
        assert typed_values.to_numpy_ndarray().tolist() == pixels.tolist()


def test_images_that_do_not_fit_are_named():
    """Another shape, a value beyond a byte, an infinite and a missing image are refused."""
    pixels = np.zeros((2, 2, 2), dtype=np.float32)
    nested = pa.list_(pa.list_(pa.float32(), 2), 2)

    with pytest.raises(SourceError, match=r"a\.npz: column 'c' holds images of shape \[3, 2\]"):
        image_column(image_array(np.zeros((1, 3, 2), dtype=np.uint8)))
    for value, problem in ((np.inf, "infinite"), (np.nan, "infinite"), (256, "not a byte")):
        wrong = pixels.copy()
        wrong[1, 0, 1] = value
        with pytest.raises(SourceError, match=rf"row 12, column 'c': the image holds .*{problem}"):
            image_column(image_array(wrong))
    with pytest.raises(SourceError, match=r"row 12, column 'c': the image is missing"):
        image_column(pa.array([pixels[0].tolist(), None], nested))
    with pytest.raises(SourceError, match=r"row 12, column 'c': the image holds a missing value"):
        image_column(pa.array([pixels[0].tolist(), [[0, 0], [None, 0]]], nested))
    with pytest.raises(SourceError, match="holds numbers, but its kind is image"):
        image_column([1, 2])


def test_a_column_of_another_nature_is_named():
    """Images or nested values where a number or a name should be are refused."""
    nested = pa.array([{"a": 1}, {"a": 2}])

    for kind in ("numeric", "categorical", "time"):
        with pytest.raises(SourceError, match="column 'c' holds nested or binary values"):
            one(kind, nested)


def test_columns_are_kept_by_name():
    """Extra columns are left out, missing ones an error, and order is the frozen one."""
    frozen = columns(x="numeric", gone="ignore", y="label")
    table = typed(pa.table({"y": ["a"], "extra": [1], "x": [2]}), frozen, "a.csv")

    assert table.to_pylist() == [{"x": 2.0, "y": "a"}]
    with pytest.raises(SourceError, match=r"a\.csv: has no column 'x'; known: q, y"):
        typed(pa.table({"y": ["a"], "q": [1]}), frozen, "a.csv")


def test_a_missing_id_is_an_error():
    """Where there is an id column, every row has one."""
    with pytest.raises(SourceError, match=r"row 12, column 'c': the id is missing"):
        one("id", ["7", ""])


def test_the_first_missing_label_is_found():
    """The place of the first null label is known, or that there is none."""
    frozen = columns(y="label")

    assert label_is_missing(typed(pa.table({"y": ["a", ""]}), frozen, "a"), "y") == 1
    assert label_is_missing(typed(pa.table({"y": ["a", "b"]}), frozen, "a"), "y") is None


def test_rows_to_predict_need_their_inputs_only():
    """Label, group and time are null where they are absent; an id is of no use."""
    frozen = columns(i="id", x="numeric", g="group", y="label")

    assert typed_inputs(pa.table({"x": ["1"]}), frozen, "new").to_pylist() == [
        {"x": 1.0, "g": None, "y": None}
    ]
    given = pa.table({"x": ["1"], "y": ["a"], "i": [""]})
    assert typed_inputs(given, frozen, "new").to_pylist() == [{"x": 1.0, "g": None, "y": "a"}]
    with pytest.raises(SourceError, match="new: has no column 'x'"):
        typed_inputs(pa.table({"y": ["a"]}), frozen, "new")


def test_who_predicts_is_not_told_to_change_settings():
    """A wrong value is named in both; advice to declare or refit is for who trains."""
    frozen = Columns({"x": "numeric"}, "classification", {}, {}, {"x": "numbers"})
    given = pa.table({"x": ["1", "seven"]})
    problem = "^new: row 2, column 'x': 'seven' is not a number, but the column's kind is"

    with pytest.raises(SourceError, match=f"{problem}; declare it categorical .*`shoal refit`"):
        typed(given, frozen, "new")
    with pytest.raises(SourceError, match=f"{problem}$"):
        typed_inputs(given, frozen, "new")


def test_a_data_frame_is_typed_like_a_file():
    """Rows from pandas, with its strings, categories and NaN, mean what they mean in files."""
    frame = pd.DataFrame(
        {"x": [1.5, None], "s": ["a", None], "k": pd.Categorical(["u", "v"]), "n": [1, 2]},
        index=[5, 9],
    )
    frozen = columns(x="numeric", s="text", k="categorical", n="categorical", y="label")

    rows = typed_inputs(pa.Table.from_pandas(frame), frozen, "input").to_pylist()

    assert rows == [
        {"x": 1.5, "s": "a", "k": "u", "n": "1", "y": None},
        {"x": None, "s": None, "k": "v", "n": "2", "y": None},
    ]


def test_columns_that_know_no_formats_are_read(tmp_path):
    """Where an earlier version froze the columns, times are dates; a number is an error."""
    path = tmp_path / "columns.json"
    columns(c="time", x="numeric", y="label").save(path)
    content = read_json(path, Any)
    del content["formats"]
    write_json(path, content)

    frozen = Columns.load(path)

    assert typed(pa.table({"c": ["1970-01-02"]}), frozen, "a", 1, ["c"])["c"].to_pylist() == [
        86400.0
    ]
    with pytest.raises(SourceError, match="'12' is a number, but times of this column are dates"):
        typed(pa.table({"c": ["12"]}), frozen, "a", 1, ["c"])
