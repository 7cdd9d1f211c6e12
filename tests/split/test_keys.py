import numpy as np
import pyarrow as pa
import pytest

from shoal.errors import DataError
from shoal.formats import tables
from shoal.formats.tables import Columns
from shoal.sources.columns import typed
from shoal.split.keys import content_hashes, row_keys, value_hashes

CONTENT = Columns(
    {"x": "numeric", "k": "categorical", "g": "group", "y": "label"}, "classification", {}, {}, {}
)
NAMED = Columns({"i": "id", "x": "numeric", "y": "label"}, "classification", {}, {}, {})
ROWS = {"x": ["1", "0.1", ""], "k": ["3", "4", "NA"], "g": ["u", "v", "w"], "y": ["0", "1", "0"]}


def keys(rows, columns=CONTENT):
    table = typed(pa.table(rows), columns, "a.csv")
    return [key.tobytes() for key in row_keys(table, columns)]


def test_keys_do_not_depend_on_how_a_column_is_stored():
    """The strings of a CSV file and the numbers of a Parquet file give one key."""
    stored = {
        "x": pa.array([1, 0.1, None], pa.float32()),
        "k": pa.array([3.0, 4.0, np.nan]),
        "g": ROWS["g"],
        "y": [0, 1, 0],
    }

    assert keys(stored) == keys(ROWS)


def test_rows_without_id_and_inputs_are_refused():
    """Nothing would tell them from each other."""
    with pytest.raises(DataError, match="there is no input column"):
        keys({"y": ["0"]}, Columns({"y": "label"}, "classification", {}, {}, {}))


def test_keys_are_of_the_inputs_alone():
    """Label, group and other columns change no key; each input does."""
    before = keys(ROWS)

    assert len(set(before)) == 3
    assert keys(ROWS | {"y": ["5", "5", "5"], "g": ["q", "q", "q"], "z": ["1", "2", "3"]}) == before
    for name, value in (("x", "7"), ("k", "7")):
        after = keys(ROWS | {name: [value, *ROWS[name][1:]]})
        assert after[0] != before[0]
        assert after[1:] == before[1:]


def test_keys_do_not_depend_on_position():
    """Rows in another order keep their keys."""
    assert keys({name: values[::-1] for name, values in ROWS.items()}) == keys(ROWS)[::-1]


def test_an_id_is_the_key():
    """With an id column content does not matter, and 7 is "7"."""
    before = keys({"i": ["7", "8"], "x": ["1", "1"], "y": ["a", "a"]}, NAMED)

    assert before[0] != before[1]
    assert keys({"i": [7, 8], "x": ["5", "6"], "y": ["a", "a"]}, NAMED) == before


def test_content_covers_what_the_table_keeps():
    """Two rows of one content differ as soon as label or group do."""
    table = typed(
        pa.table({"x": ["1"] * 4, "k": ["3"] * 4, "g": list("uuuv"), "y": list("aaba")}),
        CONTENT,
        "a.csv",
    )

    sources = value_hashes(tables.texts(table, "y"))  # all that differs among inputs and label
    table = table.append_column(tables.SOURCE, tables.key_array(sources))

    hashes = [row.tobytes() for row in content_hashes(table, CONTENT)]

    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3
