"""Parquet files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shoal.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shoal.sources.opened import SourceFile


_PANDAS = b"pandas"


def saved_index(schema: pa.Schema) -> list[str]:
    """Columns that hold the index of a data frame, by what pandas wrote into the file."""
    index = _described_index(schema)
    return [*(name for name in index if isinstance(name, str)), *_counted(index)]


class ParquetSource:
    """A Parquet file of the user's.

    Attributes:
        path: The file.
        names: Its columns; also the named index of a data frame that pandas saved as a range.
    """

    def __init__(self, file: SourceFile) -> None:
        """Look at the file's schema.

        Raises:
            SourceError: It is not Parquet, or cut off.
        """
        self.path = file.path
        try:
            self._file = pq.ParquetFile(pa.OSFile(file.name_when_open()), pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            raise self._explained(error) from None
        schema = self._file.schema_arrow
        found = _counted(_described_index(schema))
        self._counted = {name: each for name, each in found.items() if name not in schema.names}
        self.names: list[str] = [*schema.names, *self._counted]
        own = (schema.metadata or {}).get(_PANDAS)
        self._metadata = None if own is None else {_PANDAS: own}

    def batches(self, rows: int, names: list[str]) -> Iterator[pa.Table]:
        """Consecutive rows of some columns; of the file's metadata pandas' own stays.

        Raises:
            SourceError: The file is corrupt.
        """
        stored = [name for name in names if name not in self._counted]
        first = 0
        try:
            for batch in self._file.iter_batches(rows, columns=stored, use_threads=False):
                table = pa.Table.from_batches([batch])
                table.validate(full=True)  # that text is UTF-8, which nobody has looked at yet
                places = np.arange(first, first + len(table))
                for name, (start, step) in self._counted.items():
                    table = table.append_column(name, pa.array(start + step * places))
                yield table.select(names).replace_schema_metadata(self._metadata)
                first += len(table)
        except (pa.ArrowException, OSError) as error:
            raise self._explained(error) from None
        finally:
            self._file.close()

    def _explained(self, error: Exception) -> SourceError:
        message = str(error).splitlines()[0].rstrip(". ")
        return SourceError(f"{self.path}: not readable as Parquet, cut off or corrupt ({message})")


def _described_index(schema: pa.Schema) -> list[Any]:
    """Columns of pandas' index; none where that is not readable."""
    try:
        return list(json.loads((schema.metadata or {})[_PANDAS])["index_columns"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return []


def _counted(index: list[Any]) -> dict[str, tuple[int, int]]:
    """Start and step of an index that has a name, but no column, since it counts the rows."""
    return {
        each["name"]: (each["start"], each["step"])
        for each in index
        if isinstance(each, dict)
        and isinstance(each.get("name"), str)
        and all(_is_count(each.get(part)) for part in ("start", "step"))
    }


def _is_count(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    return isinstance(value, int) and abs(value) < 2**31
