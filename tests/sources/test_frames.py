"""Rows that a caller holds in memory, in a data frame or a table."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from shoal.errors import SourceError
from shoal.formats.tables import Columns, image_array, images
from shoal.sources.columns import typed_inputs
from shoal.sources.frames import raw_table

FROZEN = Columns(
    {"x": "numeric", "k": "categorical", "note": "ignore", "y": "label"},
    "classification",
    {},
    {},
    {},
)


def typed(frame):
    """Inputs of a frame, as a pool gets them."""
    rows = typed_inputs(raw_table(frame, FROZEN, "input"), FROZEN, "input").to_pylist()
    return [(row["x"], row["k"]) for row in rows]


def test_the_index_of_a_frame_is_no_column():
    """Rows that were filtered before they are predicted mean what they mean without their index."""
    frame = pd.DataFrame({"x": [1, 2, 3], "k": ["a", "b", "c"]})[lambda frame: frame.x > 1]

    assert typed(frame) == [(2, "b"), (3, "c")]
    assert raw_table(frame, FROZEN, "input").schema.names == ["x", "k"]


def test_an_index_with_an_inputs_name_is_that_input():
    """Where a column was made the index, as by set_index, it is still there."""
    frame = pd.DataFrame({"x": [1, 2], "k": ["a", "b"], "z": [0, 0]})

    assert typed(frame.set_index("k")) == typed(frame.set_index(["z", "k"])) == [(1, "a"), (2, "b")]


def test_columns_of_mixed_types_are_read_as_from_csv():
    """A value that pandas keeps as an object is that of its text in a file."""
    frame = pd.DataFrame(
        {
            "x": [Decimal("0E-8"), 1.5, "2", Decimal("1E+80"), None],
            "k": [True, "true", 3.0, "3", pd.NA],
        }
    )

    assert typed(frame) == [(0, "True"), (1.5, "True"), (2, "3"), (1e80, "3"), (None, None)]


def test_decimals_are_numbers():
    """Decimals of any width are the numbers that they spell, as numbers and as categories."""
    values = [Decimal("0.00000000"), Decimal("1.50000000"), None]
    widths = [pa.decimal128(20, 8), pa.decimal256(50, 8)]
    widths += [getattr(pa, name)(9, 8) for name in ("decimal32", "decimal64") if hasattr(pa, name)]

    for kind in widths:
        column = pa.array(values, kind)
        assert typed(pa.table({"x": column, "k": column})) == [(0, "0"), (1.5, "1.5"), (None, None)]


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        (
            pd.DataFrame([[1, 2, "a"]], columns=["x", "x", "k"]),
            "input: column 'x' is there 2 times",
        ),
        (
            pa.table([[1], [2], ["a"]], names=["x", "x", "k"]),
            "input: column 'x' is there 2 times",
        ),
        (pd.DataFrame({"xx": [1], "k": ["a"]}), "input: has no column 'x'; did you mean 'xx'"),
        (pd.DataFrame({"x": [1j], "k": ["a"]}), "column 'x' holds values that are neither numbers"),
        (pd.DataFrame({"x": [Decimal("Infinity")], "k": ["a"]}), "row 1, .*'Infinity' is infinite"),
        (pd.DataFrame({"x": [1, object()], "k": ["a", "b"]}), "column 'x' holds values that are n"),
    ],
)
def test_what_no_file_could_hold_is_named(frame, problem):
    """Columns that are there twice, absent, or of no kind are an error in one line."""
    with pytest.raises(SourceError, match=problem) as caught:
        typed(frame)

    assert "\n" not in str(caught.value)


def test_what_is_not_known_does_not_matter():
    """Ignored and further columns may be there twice, and hold anything."""
    frame = pd.DataFrame(
        [[1, "a", 2j, object(), 3, 4]], columns=["x", "k", "z", "note", "z", "note"]
    )

    assert typed(frame) == [(1, "a")]


@pytest.mark.parametrize(
    "kind", [pa.float32(), pa.string(), pa.decimal128(5, 2), pa.null()], ids=str
)
def test_no_rows_are_no_rows(kind):
    """A table of no rows is typed like any other."""
    empty = pa.array([], kind)

    assert typed(pa.table({"x": empty, "k": empty})) == []
    assert typed(pd.DataFrame({"x": np.empty(0), "k": []})) == []


PIXELS = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
COLUMNS = Columns(
    {"i": "image", "n": "numeric", "k": "categorical", "y": "label"},
    "classification",
    {"i": [2, 3]},
    {"i": "uint8"},
    {},
)


def inputs(rows) -> pa.Table:
    return typed_inputs(raw_table(rows, COLUMNS, "input"), COLUMNS, "input")


def frame(**changes) -> pd.DataFrame:
    return pd.DataFrame({"i": list(PIXELS), "n": [1.0, 2.0], "k": ["a", "b"]} | changes)


@pytest.mark.parametrize(
    "cells",
    [
        list(PIXELS),
        [image.ravel() for image in PIXELS],
        PIXELS.tolist(),
        PIXELS.reshape(2, 6).tolist(),
        [pd.Series(list(image)).to_numpy() for image in PIXELS],
    ],
    ids=["arrays", "flat arrays", "nested lists", "flat lists", "arrays of arrays"],
)
def test_images_come_as_people_hold_them(cells):
    """Arrays and lists, flat or not, are the same image."""
    assert images(inputs(frame(i=pd.Series(cells))), "i").tolist() == PIXELS.tolist()


def test_images_of_a_parquet_file_come_back_through_pandas(tmp_path):
    """An image column that pandas has read holds the images again."""
    path = tmp_path / "a.parquet"
    pa.parquet.write_table(pa.table({"i": image_array(PIXELS), "n": [1, 2], "k": ["a", "b"]}), path)

    assert images(inputs(pd.read_parquet(path)), "i").tolist() == PIXELS.tolist()


def test_no_rows_of_arrays_are_no_rows():
    """An empty frame has typed columns and nothing in them."""
    assert len(inputs(frame().iloc[:0])) == 0


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"i": [np.zeros((2, 3)), np.zeros((2, 4))]},
            r"row 2, column 'i': an array of shape \(2, 4\)",
        ),
        ({"i": [np.zeros((2, 3)), "no"]}, "row 2, column 'i': 'no' is no array of numbers"),
        ({"i": [[[1, 2, 3], [4, 5]], [[1, 2, 3], [4, 5, 6]]]}, "row 1, column 'i': .* is no array"),
    ],
)
def test_cells_that_fit_no_column_are_named(changes, problem):
    """Row, column and value are named in one line."""
    with pytest.raises(SourceError, match=problem) as caught:
        inputs(frame(**changes))

    assert "\n" not in str(caught.value)


def test_what_is_no_table_is_named():
    """The message says what is taken."""
    with pytest.raises(
        SourceError, match="of type list; give a pandas DataFrame or a pyarrow Table"
    ):
        inputs([[1, 2]])
