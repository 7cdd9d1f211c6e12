"""Readers of CSV, Parquet and NPZ: a block of rows at a time, never as pickle."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import tokenize
import zipfile
import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.lib import format as npy

from shoal.errors import SourceError, nearest
from shoal.formats.tables import image_array
from shoal.sources.tensors import kept_as

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from shoal.sources.readers import SourceFile

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
                    pyarrow.csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
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
            row, expected, held = map(int, ragged.groups())
            return SourceError(
                f"{self.path}: row {row - 1} has {held} values, but the header has {expected}; "
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


_PANDAS = b"pandas"


def saved_index(schema: pa.Schema) -> list[str]:
    """Columns that hold the index of a data frame, according to the metadata of pandas."""
    index = _described_index(schema)
    return [*(name for name in index if isinstance(name, str)), *_counted(index)]


class ParquetSource:
    """A Parquet file.

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
        counted = _counted(_described_index(schema))
        self._counted = {name: counted[name] for name in counted if name not in schema.names}
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
                table.validate(full=True)  # checks that text is UTF-8
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
    """Start and step of a named index that has no column, since it counts the rows."""
    return {
        level["name"]: (level["start"], level["step"])
        for level in index
        if isinstance(level, dict)
        and isinstance(level.get("name"), str)
        and all(
            isinstance(level.get(part), int) and abs(level[part]) < 2**31
            for part in ("start", "step")
        )
    }


_SUFFIX = ".npy"
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,
    tokenize.TokenError,  # numpy reads an array's header as Python
)


@dataclass(frozen=True)
class _Member:
    """An array in the file, its data still to be read."""

    stream: IO[bytes]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, rows: int) -> NDArray[Any]:
        """The next ``rows`` rows."""
        shape = (rows, *self.shape[1:])
        wanted = math.prod(shape) * self.dtype.itemsize
        content = bytearray()
        while len(content) < wanted:
            part = self.stream.read(wanted - len(content))
            if not part:
                raise EOFError("the array ends early")
            content += part
        return np.frombuffer(bytes(content), dtype=self.dtype).reshape(shape)


class NpzFile:
    """A NumPy archive, compressed or not.

    Attributes:
        path: The file.
        names: Its columns.
    """

    def __init__(self, file: SourceFile) -> None:
        """Look at the file's table of contents.

        Args:
            file: The file. Of its array names, if it has such, one entry is a set of rows; by
                default there is one set, and every array is the column of its name.

        Raises:
            SourceError: The file is not an NPZ archive, lacks a named array, or two sets of
                rows have other columns.
        """
        self.path = path = file.path
        try:
            self._zip = zipfile.ZipFile(file.reader())
        except _BROKEN as error:
            raise self._broken(error) from None
        members = [name for name in self._zip.namelist() if name.endswith(_SUFFIX)]
        known = [name.removesuffix(_SUFFIX) for name in members]
        own = [{name: name for name in known}]
        self._sets = own if file.arrays is None else list(file.arrays)
        if not self._sets or not self._sets[0]:
            raise SourceError(f"{path}: no array is named; an NPZ source needs at least one")
        self.names = list(self._sets[0])
        for arrays in self._sets:
            if set(arrays) != set(self.names):
                raise SourceError(f"{path}: its sets of rows must all have the same columns")
            for array in arrays.values():
                if array not in known:
                    raise SourceError(f"{path}: has no array {array!r}; {nearest(array, known)}")

    def batches(self, rows: int, names: list[str]) -> Iterator[pa.Table]:
        """Consecutive rows of some columns, one set of rows after another.

        Raises:
            SourceError: An array would need pickle, arrays differ in length, or the file is
                cut off or corrupt.
        """
        with self._zip:
            for arrays in self._sets:
                yield from self._set_batches(arrays, rows, names)

    def _set_batches(
        self, arrays: dict[str, str], rows: int, names: list[str]
    ) -> Iterator[pa.Table]:
        with ExitStack() as stack:
            members = {name: self._member(array, stack) for name, array in arrays.items()}
            lengths = {arrays[name]: member.shape[0] for name, member in members.items()}
            if len(set(lengths.values())) > 1:
                listing = ", ".join(f"{array}: {length}" for array, length in lengths.items())
                raise SourceError(
                    f"{self.path}: arrays of one set of rows differ in length ({listing}); "
                    f"name those that belong together under `arrays`"
                )
            total = next(iter(lengths.values()))
            for start in range(0, total, rows):
                count = min(rows, total - start)
                yield pa.table({name: self._read(members[name], count, name) for name in names})

    def _member(self, array: str, stack: ExitStack) -> _Member:
        """An array's type and shape, its stream at the first row."""
        try:
            stream = stack.enter_context(self._zip.open(array + _SUFFIX))
            version = npy.read_magic(stream)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, by_column, dtype = read(stream)
        except _BROKEN as error:
            raise self._broken(error) from None
        if dtype.hasobject:
            raise SourceError(
                f"{self.path}: array {array!r} holds Python objects, which only pickle reads; "
                f"save it as numbers or as strings of fixed length"
            )
        if dtype.kind not in "biufUSM":
            raise SourceError(f"{self.path}: array {array!r} is of type {dtype}, not a column's")
        if not shape:
            raise SourceError(f"{self.path}: array {array!r} is a single value, not rows")
        if 0 in shape[1:]:
            raise SourceError(
                f"{self.path}: array {array!r} is of shape {shape}: no row holds a value"
            )
        if by_column and len(shape) > 1:
            raise SourceError(
                f"{self.path}: array {array!r} is stored column by column (Fortran order); "
                f"save numpy.ascontiguousarray of it"
            )
        if len(shape) > 1 and dtype.kind not in "biuf":
            raise SourceError(f"{self.path}: array {array!r} has dimensions {shape} of text")
        return _Member(stream, shape, dtype)

    def _read(self, member: _Member, rows: int, name: str) -> pa.Array:
        """The next rows of an array as a column."""
        try:
            values = member.read(rows)
        except _BROKEN as error:
            raise self._broken(error) from None
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        if values.ndim > 1:
            return image_array(kept_as(values))
        if values.dtype.kind == "S":
            try:
                return pa.array([value.decode() for value in values.tolist()], pa.string())
            except UnicodeDecodeError:
                raise SourceError(f"{self.path}: column {name!r} is not UTF-8 text") from None
        if values.dtype.kind == "U":
            if not _is_unicode(values):
                raise SourceError(f"{self.path}: column {name!r} is not Unicode text")
            return pa.array(values.tolist(), pa.string())
        if values.dtype.kind == "M":
            return pa.array(values.astype("datetime64[us]"))
        return pa.array(values.astype(np.float64) if values.dtype.itemsize > 8 else values)

    def _broken(self, error: BaseException) -> SourceError:
        message = (str(error).splitlines() or [type(error).__name__])[0]
        return SourceError(f"{self.path}: not readable as NPZ, cut off or corrupt ({message})")


def _is_unicode(values: NDArray[np.str_]) -> bool:
    """Whether all are characters to Python; numpy takes any number for one."""
    numbers = np.ascontiguousarray(values).view(np.uint32)
    return not ((numbers > 0x10FFFF) | ((numbers >= 0xD800) & (numbers <= 0xDFFF))).any()


RowFile = CsvFile | ParquetSource | NpzFile
READERS: dict[str, type[RowFile]] = {
    ".csv": CsvFile,
    ".csv.gz": CsvFile,
    ".parquet": ParquetSource,
    ".npz": NpzFile,
}
"""Ending of a file's name to its reader."""
