"""Tables of rows in Parquet files."""

import pytest

from shoal.errors import CorruptError
from shoal.formats.tables import Table


def test_a_damaged_page_is_named(columns, rows, shard):
    """A table that opens, as its footer is whole, and does not read."""
    made = columns(a="numeric", label="label")
    path = shard(rows(made, range(99), [0] * 99, a=[0.5] * 99, label=["x"] * 99)).path
    content = bytearray(path.read_bytes())
    content[4:80] = bytes(76)
    path.write_bytes(bytes(content))

    with pytest.raises(CorruptError, match=r"a\.parquet: a page does not read \("):
        list(Table(path).batches(10))
