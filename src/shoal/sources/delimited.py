"""CSV files, plain or gzipped, read as strings."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.csv

from shoal.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shoal.sources.opened import SourceFile

_BLOCK_BYTES = 1 << 22
"""Bytes parsed at a time; also the longest row that can be read."""
_TAIL_BYTES = 4096
_REPLACED = "\ufffd"
_RAGGED = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")
_BAD_TEXT = re.compile(r"In CSV column #(\d+): Row #(\d+): .*invalid UTF8")


class CsvFile:
    """A comma-separated file with a header.

    Every column is read as strings, so that no type is guessed from a part of the file.

    Attributes:
        path: The file.
        names: Its columns.
    """

    def __init__(self, file: SourceFile) -> None:
        """Read the header.

        Raises:
            SourceError: The file has no header, is not UTF-8 or not gzip though it is named so.
        """
        self.path = file.path
        self._file = file
        self.names = self._header()

    def batches(self, rows: int, names: list[str]) -> Iterator[pa.Table]:  # noqa: ARG002 - pyarrow reads blocks of bytes
        """Consecutive rows of some columns.

        Raises:
            SourceError: A row has too many or too few values, a value is not UTF-8, or the
                file is cut off.
        """
        last = self.names[-1]
        read = list(dict.fromkeys([*names, last]))
        count, ending = 0, ""
        try:
            with self._open() as stream:
                reader = pyarrow.csv.open_csv(
                    stream,
                    read_options=pyarrow.csv.ReadOptions(
                        use_threads=False, block_size=_BLOCK_BYTES
                    ),
                    parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
                    convert_options=pyarrow.csv.ConvertOptions(
                        column_types=dict.fromkeys(read, pa.string()), include_columns=read
                    ),
                )
                for batch in reader:
                    if len(batch):
                        count, ending = count + len(batch), batch[last][-1].as_py()
                        yield pa.Table.from_batches([batch]).select(names)
        except (pa.ArrowInvalid, OSError) as error:
            raise self._explained(error) from None
        if "\n" in ending and not self._ends_quoted():
            raise SourceError(
                f"{self.path}: row {count} opens a quote that is not closed, so all that follows "
                f"would be one value"
            )

    def _ends_quoted(self) -> bool:
        """Whether the last value is in quotes, as one with a line break is."""
        tail = b""
        with self._open() as stream:
            while part := stream.read(_BLOCK_BYTES):
                tail = (tail + part)[-_TAIL_BYTES:]
        return tail.rstrip().endswith(b'"')

    def _open(self) -> pa.NativeFile:
        compression = "gzip" if self.path.name.lower().endswith(".gz") else None
        return pa.input_stream(self._file.name_when_open(), compression=compression)

    def _header(self) -> list[str]:
        try:
            with self._open() as stream:
                text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
                names = next(filter(None, csv.reader(text)))
        except StopIteration:
            raise SourceError(f"{self.path}: the file is empty, it has no header") from None
        except csv.Error as error:
            raise SourceError(f"{self.path}: the header is not readable ({error})") from None
        except (pa.ArrowInvalid, OSError) as error:
            raise self._explained(error) from None
        if any(_REPLACED in name for name in names):
            raise SourceError(f"{self.path}: the header is not UTF-8 text")
        return names

    def _explained(self, error: Exception) -> SourceError:
        """An error of pyarrow in words, with the row counted from 1 below the header."""
        message = str(error).splitlines()[0]
        ragged = _RAGGED.search(message)
        if ragged:
            row, expected, found = map(int, ragged.groups())
            return SourceError(
                f"{self.path}: row {row - 1} has {found} values, but the header has {expected}; "
                f"quote values that hold commas"
            )
        bad_text = _BAD_TEXT.search(message)
        if bad_text:
            name, row = self.names[int(bad_text[1])], int(bad_text[2]) - 1
            return SourceError(f"{self.path}: row {row}, column {name!r} is not UTF-8 text")
        if "straddl" in message:
            return SourceError(
                f"{self.path}: a row is longer than {_BLOCK_BYTES >> 20} MiB; "
                f"a quote may be left open"
            )
        if isinstance(error, OSError) and not isinstance(error, PermissionError):
            return SourceError(f"{self.path}: cut off or corrupt ({message})")
        return SourceError(f"{self.path}: not readable as CSV ({message})")
