"""Tables of rows in Parquet files."""

import numpy as np
import pyarrow as pa
import pytest

from shoal.errors import CorruptError
from shoal.formats.tables import Table, texts, write_link


def test_a_damaged_page_is_named(columns, rows, shard):
    """A table that opens, as its footer is whole, and does not read."""
    made = columns(a="numeric", label="label")
    path = shard(rows(made, range(99), [0] * 99, a=[0.5] * 99, label=["x"] * 99)).path
    content = bytearray(path.read_bytes())
    content[4:80] = bytes(76)
    path.write_bytes(bytes(content))

    with pytest.raises(CorruptError, match=r"a\.parquet: a page does not read \("):
        list(Table(path).batches(10))


def test_a_table_that_was_read_holds_none_of_its_rows(columns, rows, shard):
    """So a fit that opens every shard holds no more than its sample."""
    made, many = columns(a="numeric", label="label"), 30_000
    values = np.random.default_rng(0).random(many)
    table = shard(rows(made, range(many), [0] * many, a=values, label=["x"] * many))
    before = pa.total_allocated_bytes()

    read = sum(len(batch) for batch in table.batches(1000))

    assert read == many
    assert pa.total_allocated_bytes() - before < table.path.stat().st_size / 4


def test_a_link_has_its_own_record_and_the_rows_of_another_table(columns, rows, shard, tmp_path):
    """It is found from the link's folder, so both may be moved together."""
    made = columns(a="numeric", label="label")
    table = shard(rows(made, range(9), [0] * 9, a=range(9), label=["x"] * 9), "split/a")
    (tmp_path / "transform").mkdir()

    write_link(tmp_path / "transform" / "a.parquet", table, {"rows_in": 9})

    moved = tmp_path.rename(tmp_path.with_name(f"{tmp_path.name}-moved"))
    link = Table(moved / "transform" / "a.parquet")
    assert (link.rows, link.record["rows_in"], link.schema) == (9, 9, table.schema)
    assert "dropped" not in link.record
    (batch,) = link.batches(100)
    assert batch["a"].to_pylist() == list(range(9))


def test_a_link_whose_table_is_gone_says_so(columns, rows, shard, tmp_path):
    """The message names both files."""
    made = columns(a="numeric", label="label")
    table = shard(rows(made, range(9), [0] * 9, a=range(9), label=["x"] * 9))
    write_link(tmp_path / "b.parquet", table, {"rows_in": 9})
    table.path.unlink()

    with pytest.raises(CorruptError, match=r"b\.parquet: its rows are those of .*a\.parquet"):
        list(Table(tmp_path / "b.parquet").batches(100))


def test_equal_texts_are_read_as_one_object(columns, rows, shard):
    """Categories take a pointer per row; missing ones are None, and so are those of no rows."""
    made = columns(a="categorical", label="label")
    values = ["u", None, "v", "u"] * 3
    (batch,) = shard(rows(made, range(12), [0] * 12, a=values, label=["x"] * 12)).batches(100)

    found = texts(batch, "a")

    assert found.tolist() == values
    assert found[0] is found[3]
    assert texts(batch.slice(0, 0), "a").tolist() == []
