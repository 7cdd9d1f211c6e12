"""Parquet files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from shoal.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shoal.sources.opened import SourceFile


class ParquetSource:
    """A Parquet file of the user's.

    Attributes:
        path: The file.
        names: Its columns.
    """

    def __init__(self, file: SourceFile) -> None:
        """Look at the file's schema.

        Raises:
            SourceError: It is not Parquet, or cut off.
        """
        self.path = file.path
        try:
            self._file = pq.ParquetFile(file.reader(), pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            raise self._explained(error) from None
        self.names: list[str] = self._file.schema_arrow.names

    def batches(self, rows: int, names: list[str]) -> Iterator[pa.Table]:
        """Consecutive rows of some columns.

        Raises:
            SourceError: The file is corrupt.
        """
        try:
            for batch in self._file.iter_batches(rows, columns=names, use_threads=False):
                yield pa.Table.from_batches([batch]).select(names).replace_schema_metadata(None)
        except (pa.ArrowException, OSError) as error:
            raise self._explained(error) from None
        finally:
            self._file.close()

    def _explained(self, error: Exception) -> SourceError:
        message = str(error).splitlines()[0].rstrip(". ")
        return SourceError(f"{self.path}: not readable as Parquet, cut off or corrupt ({message})")
