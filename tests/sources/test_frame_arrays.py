"""Images and vectors in rows that a caller holds in memory."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from shoal.errors import SourceError
from shoal.formats.tables import Columns, image_array, images
from shoal.sources.columns import typed_inputs
from shoal.sources.frames import raw_table

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


def test_no_rows_are_no_rows():
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
