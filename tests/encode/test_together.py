"""Columns that are encoded together."""

import numpy as np
import pyarrow as pa
import pytest

from shoal.encode.column import ColumnSetting, Target
from shoal.encode.encoder import Encoder
from shoal.encode.encoders import make_encoder
from shoal.encode.label import label_from_state
from shoal.encode.tabular import OneHot
from shoal.errors import DataError

RNG = np.random.default_rng(0)
SPECS = [
    ("a", "numeric", "scale"),
    ("b", "numeric", "scale"),
    ("red", "categorical", "one_hot"),
    ("c", "numeric", "passthrough"),
    ("d", "numeric", "rank"),
    ("e", "numeric", "scale"),
    ("size", "categorical", "ordinal"),
    ("word", "text", "one_hot"),
]


def rows(count: int, *, gaps: bool = True, unseen: bool = True) -> pa.Table:
    """Numbers and texts, some of them missing or unseen."""
    columns: dict[str, pa.Array] = {}
    for name, kind, _ in SPECS:
        lost = RNG.random(count) < (0.1 if gaps and name in ("b", "e", "red", "size") else 0)
        if kind == "numeric":
            columns[name] = pa.array(RNG.normal(3, 7, count), mask=lost)
        else:
            drawn = RNG.integers(0, 9 if unseen else 5, count)
            columns[name] = pa.array([f"{name} {n}" for n in drawn], mask=lost)
    return pa.table(columns)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """Fitted on rows with gaps and fewer texts."""
    table, encoders = rows(500, unseen=False), []
    for name, kind, how in SPECS:
        each = make_encoder({"encoder": how}, ColumnSetting(name, kind, "encode", 0))
        each.fit(values(table, name, kind), Target(np.arange(500) % 2, ["n", "y"]))
        encoders.append(each)
    label = label_from_state({"column": "y", "classes": ["n", "y"], "rows": [1, 1]})
    return Encoder("classification", encoders, label, 500)


def values(table: pa.Table, name: str, kind: str) -> np.ndarray:
    """A column as an encoder takes it."""
    if kind == "numeric":
        return np.asarray(table[name].to_numpy(), dtype=np.float64)
    return np.array(table[name].to_pylist(), dtype=object)


@pytest.mark.parametrize("count", [1, 2, 300, 5000])
@pytest.mark.parametrize("gaps", [False, True])
def test_columns_have_the_bits_that_each_has_alone(
    encoder: Encoder, count: int, gaps: bool
) -> None:
    """Whatever stands between them, with gaps and unseen texts, and texts as a dictionary, too."""
    table = rows(count, gaps=gaps)
    alone = [
        each.encode(values(table, each.column, each.place.kind)).reshape(count, -1)
        for each in encoder.encoders
    ]

    found = encoder.encode(table)

    assert found.tobytes() == np.concatenate(alone, axis=1).tobytes()
    for name in ("red", "size", "word"):
        place = table.schema.names.index(name)
        table = table.set_column(place, name, table[name].dictionary_encode())
    assert encoder.encode(table).tobytes() == found.tobytes()


def test_some_rows_have_the_bits_that_they_have_among_all(encoder: Encoder) -> None:
    """Row by row."""
    table = rows(40)

    found = encoder.encode(table)

    parts = [encoder.encode(table.slice(row, 1)) for row in range(40)]
    np.testing.assert_array_equal(np.concatenate(parts), found)


def test_a_number_that_float32_does_not_hold_is_named(encoder: Encoder) -> None:
    """With its row, counted from the first row of the batch, and its column."""
    table = rows(3000, gaps=False)
    numbers = table["c"].to_numpy().copy()
    numbers[2500] = 1e300
    table = table.set_column(table.schema.names.index("c"), "c", pa.array(numbers))

    with pytest.raises(DataError, match=r"shard: row 2511, column 'c': 1e\+300 is not finite"):
        encoder.encode(table, "shard", 10)


def test_a_missing_text_is_a_category_only_where_training_had_it(encoder: Encoder) -> None:
    """Else all its features are 0."""
    hot = [each for each in encoder.encoders if isinstance(each, OneHot)]

    assert [None in each.categories for each in hot] == [True, False]
