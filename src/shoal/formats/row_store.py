"""Row-aligned arrays of one shard in one zarr zip file.

The file is a zarr (v3) group: any reader of zarr opens it. Here its members are written and read
as they are, a chunk of all arrays at a time, which takes a fifth of the time.
"""

from __future__ import annotations

import json
import math
import zipfile
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from shoal.errors import CorruptError, SourceError
from shoal.formats.files import replacing
from shoal.formats.hashing import row_hashes, uniform
from shoal.formats.provenance import made_from
from shoal.formats.units import UNIT

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

HASH, SOURCE, SALT = "hash", "source", "salt"
"""Rows' hashes, the array that they are made from, and the value beside it that they are, too."""
CHUNK_ROWS = 8192
"""Most rows of a chunk."""
_CHUNK_BYTES = 1 << 20
"""Bytes of a chunk of all arrays together, unless one row has more."""
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_TRANSPOSE = {"name": "transpose", "configuration": {"order": [1, 0]}}
_ZSTD = {"name": "zstd", "configuration": {"level": 1, "checksum": False}}


@dataclass(frozen=True)
class RowArray:
    """Shape of one row of an array, and its numpy type."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def write_rows(
    path: str | os.PathLike[str],
    rows: int,
    arrays: Mapping[str, RowArray],
    batches: Iterable[Mapping[str, NDArray[Any]]],
    attributes: Mapping[str, object],
) -> None:
    """Write a shard's arrays from batches of rows; the same content gives the same bytes.

    Memory: one batch and one chunk.

    Args:
        path: The file, by convention ``*.zarr.zip``; it appears when it is complete.
        rows: Rows in all batches together.
        arrays: Name to type of each array.
        batches: Consecutive rows, every array in each; of any sizes.
        attributes: JSON values kept beside the arrays.

    Raises:
        ValueError: The batches hold another number of rows than ``rows``.
    """
    record = dict(attributes) | {"rows": rows} | made_from()
    with replacing(path) as aside, zipfile.ZipFile(aside, "w") as archive:
        writer = _Writer(archive, rows, arrays)
        writer.describe(record)
        for batch in batches:
            writer.add({name: np.asarray(batch[name]) for name in arrays})
        if writer.written != rows:
            raise ValueError(f"{path}: {writer.written} rows written, {rows} announced")


class _Writer:
    """The members of a file, chunk by chunk.

    Attributes:
        written: Rows so far.
    """

    def __init__(self, archive: zipfile.ZipFile, rows: int, arrays: Mapping[str, RowArray]) -> None:
        import zstandard

        self._archive = archive
        self._rows = rows
        self._arrays = arrays
        self._compress = zstandard.ZstdCompressor(level=_ZSTD["configuration"]["level"]).compress  # type: ignore[index]
        self._chunk_rows = _chunk_rows(rows, arrays.values())
        self._chunk = {
            name: np.zeros((self._chunk_rows, *spec.shape), spec.dtype)
            for name, spec in arrays.items()
        }
        self.written = 0

    def describe(self, attributes: Mapping[str, object]) -> None:
        """Write what the group and its arrays are."""
        group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        self._member("zarr.json", _json(group))
        for name, spec in self._arrays.items():
            array = _array((self._rows, *spec.shape), self._chunk_rows, np.dtype(spec.dtype))
            self._member(f"{name}/zarr.json", _json(array))

    def add(self, batch: Mapping[str, NDArray[Any]]) -> None:
        """Take further rows; each chunk is written once it is full, the last one with its end."""
        count, start = len(next(iter(batch.values()))), 0
        while start < count:
            filled = self.written % self._chunk_rows
            taken = min(count - start, self._chunk_rows - filled)
            for name, chunk in self._chunk.items():
                chunk[filled : filled + taken] = batch[name][start : start + taken]
            start += taken
            self.written += taken
            if filled + taken == self._chunk_rows or self.written == self._rows:
                self._flush(filled + taken)

    def _flush(self, filled: int) -> None:
        number = (self.written - 1) // self._chunk_rows
        for name, chunk in self._chunk.items():
            chunk[filled:] = 0
            stored = (
                np.ascontiguousarray(chunk.T) if _by_column(chunk.shape, chunk.dtype) else chunk
            )
            content = self._compress(stored.reshape(-1).view(np.uint8).data)
            self._member(_chunk_name(name, number, chunk.ndim), content)

    def _member(self, name: str, content: bytes) -> None:
        self._archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), content)


def _chunk_rows(rows: int, arrays: Iterable[RowArray]) -> int:
    """Rows of a chunk: a power of two, or all there are."""
    row_bytes = max(1, sum(spec.row_bytes for spec in arrays))
    fitting = max(1, _CHUNK_BYTES // row_bytes)
    return min(CHUNK_ROWS, 1 << (fitting.bit_length() - 1), max(1, rows))


def _by_column(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Whether a chunk is stored column by column: features compress better, by a seventh."""
    return len(shape) == 2 and dtype.kind == "f"


def _chunk_name(name: str, number: int, dimensions: int) -> str:
    return f"{name}/c/{number}" + "/0" * (dimensions - 1)


def _json(content: Mapping[str, object]) -> bytes:
    return json.dumps(content, sort_keys=True).encode()


def _array(shape: tuple[int, ...], chunk_rows: int, dtype: np.dtype[Any]) -> dict[str, object]:
    """Metadata of an array in chunks of whole rows."""
    endian = {"configuration": {"endian": "little"}} if dtype.itemsize > 1 else {}
    turned = [_TRANSPOSE] if _by_column(shape, dtype) else []
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype.name,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [chunk_rows, *shape[1:]]},
        },
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": dtype.type(0).item(),
        "codecs": [*turned, {"name": "bytes"} | endian, _ZSTD],
        "attributes": {},
    }


@dataclass(frozen=True)
class _Stored:
    """An array in a file.

    Attributes:
        shape: Rows, and the shape of a row.
        chunk_rows: Rows of a chunk.
        dtype: Type of its numbers.
    """

    shape: tuple[int, ...]
    chunk_rows: int
    dtype: np.dtype[Any]

    @classmethod
    def described(cls, content: Any) -> Self:  # noqa: ANN401 - any JSON value
        """The array of which this is the metadata.

        Raises:
            ValueError: It is not such an array as :func:`write_rows` writes.
        """
        try:
            shape, dtype = tuple(map(int, content["shape"])), np.dtype(content["data_type"])
            chunk_rows = int(content["chunk_grid"]["configuration"]["chunk_shape"][0])
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"metadata of another form: {error}") from None
        if not shape or chunk_rows < 1 or content != _array(shape, chunk_rows, dtype):
            raise ValueError("metadata of another form")
        return cls(shape, chunk_rows, dtype.newbyteorder("<"))


class ShardRows:
    """Reader of a file that :func:`write_rows` wrote; counts the rows that it reads.

    Attributes:
        rows: Rows in the file.
        attributes: The JSON values kept beside the arrays.
        rows_read: Rows read so far from each array, whole chunks counted.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the file.

        Raises:
            SourceError: There is no such file.
            CorruptError: It is not a zarr zip file.
        """
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path)
            self.attributes: dict[str, Any] = json.loads(self._archive.read("zarr.json"))[
                "attributes"
            ]
            self.rows = int(self.attributes["rows"])
        except FileNotFoundError:
            raise SourceError(f"{path}: no such file") from None
        except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
            raise CorruptError(f"{path}: not a readable zarr zip file ({error})") from None
        self._arrays: dict[str, _Stored] = {}
        self.rows_read: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    @cached_property
    def _decompress(self) -> Any:  # noqa: ANN401 - a method of an untyped library
        import zstandard

        return zstandard.ZstdDecompressor().decompress

    def _array(self, name: str) -> _Stored:
        if name not in self._arrays:
            try:
                content = json.loads(self._archive.read(f"{name}/zarr.json"))
                stored = _Stored.described(content)
                if stored.shape[0] != self.rows:
                    raise ValueError(f"{stored.shape[0]} rows, not {self.rows}")
            except (zipfile.BadZipFile, ValueError) as error:
                raise self._damaged(name, error) from None
            self._arrays[name] = stored
        return self._arrays[name]

    def _damaged(self, name: str, error: Exception) -> CorruptError:
        return CorruptError(f"{self.path}: array {name!r} does not read ({error})")

    def __contains__(self, name: str) -> bool:
        return f"{name}/zarr.json" in self._archive.NameToInfo

    def names(self, wanted: Iterable[str]) -> list[str]:
        """The wanted arrays that there are: all but units, where rows do not belong together."""
        return [name for name in wanted if name != UNIT or name in self]

    def row_array(self, name: str) -> RowArray:
        """Shape and type of one row of an array."""
        array = self._array(name)
        return RowArray(array.shape[1:], array.dtype.name)

    @cached_property
    def chunk_rows(self) -> int:
        """Rows of a chunk, the same for all arrays of a file."""
        suffix = "/zarr.json"
        first = next(name for name in self._archive.namelist() if name.endswith(suffix))
        return self._array(first.removesuffix(suffix)).chunk_rows

    def read(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Rows ``start`` to ``stop`` (exclusive; all by default) of an array.

        ``hash`` is made from ``source``, unless it is there itself.
        """
        if name == HASH and name not in self:
            return self._hashes(start, stop)
        array = self._array(name)
        stop = max(start, self.rows if stop is None else min(stop, self.rows))
        out = np.empty((stop - start, *array.shape[1:]), dtype=array.dtype.newbyteorder("="))
        if stop == start:
            return out
        size = array.chunk_rows
        numbers = range(start // size, -(-stop // size))
        whole = min(numbers.stop * size, self.rows) - numbers.start * size
        self.rows_read[name] = self.rows_read.get(name, 0) + whole
        for number in numbers:
            first = number * size
            begin, end = max(start, first), min(stop, first + size)
            chunk = self._chunk(name, array, number)
            out[begin - start : end - start] = chunk[begin - first : end - first]
        return out

    def _hashes(self, start: int, stop: int | None) -> NDArray[np.uint8]:
        """Row hashes, :func:`shoal.formats.hashing.row_hashes`.

        Raises:
            CorruptError: There is nothing to make them from.
        """
        if SOURCE not in self or SALT not in self.attributes:
            raise self._damaged(HASH, ValueError(f"no {SOURCE} to make it from"))
        names = (SOURCE, "fold", *self.names(("key", UNIT)))
        source, fold, *ids = (self.read(name, start, stop) for name in names)
        self.rows_read[HASH] = self.rows_read.get(SOURCE, 0)
        return row_hashes(source, fold, ids, self.attributes[SALT])

    def _chunk(self, name: str, array: _Stored, number: int) -> NDArray[Any]:
        """All rows of a chunk."""
        import zstandard

        try:
            content = self._archive.read(_chunk_name(name, number, len(array.shape)))
            values = np.frombuffer(self._decompress(content), dtype=array.dtype)
            shape = (array.chunk_rows, *array.shape[1:])
            if _by_column(shape, array.dtype):
                return values.reshape(shape[::-1]).T
            return values.reshape(shape)
        except (zipfile.BadZipFile, zstandard.ZstdError, KeyError, ValueError) as error:
            raise self._damaged(name, error) from None

    def take(self, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Some rows of an array, in the order asked for; chunks with none of them are not read."""
        spec, size = self.row_array(name), self.chunk_rows
        out = np.empty((len(rows), *spec.shape), dtype=spec.dtype)
        ascending = np.argsort(rows, kind="stable")
        ordered = rows[ascending]
        for start in (np.unique(ordered // size) * size).tolist():
            first, last = np.searchsorted(ordered, (start, start + size))
            block = self.read(name, start, start + size)
            out[ascending[first:last]] = block[ordered[first:last] - start]
        return out

    def blocks(
        self, names: list[str], rows: int | None = None
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """Consecutive blocks of the named arrays, in file order.

        Args:
            names: The arrays.
            rows: Most rows of a block; by default those of the file's chunks.
        """
        size = rows or self.chunk_rows
        for start in range(0, self.rows, size):
            yield {name: self.read(name, start, start + size) for name in names}


class SmallestDraws:
    """A sample of rows, those whose keys draw the smallest numbers, in any order of shards.

    Memory: at most twice the rows asked for, and the last ones added.

    Source:
        Bottom-k sampling, Cohen and Kaplan 2007.
    """

    def __init__(self, rows: int, seed: int, purpose: str) -> None:
        self._limit = rows
        self._salt = seed, purpose
        self._parts: list[tuple[NDArray[Any], ...]] = []
        self._held = 0
        self._last = 1.0

    def add(
        self,
        keys: NDArray[np.uint8],
        hashes: NDArray[np.uint8],
        arrays: Callable[[NDArray[np.int64]], tuple[NDArray[Any], ...]],
    ) -> None:
        """Add rows.

        Args:
            keys: Their keys, uint8 ``(rows, KEY_BYTES)``.
            hashes: Their hashes, which decide among rows of one key: these draw alike.
            arrays: Arrays of rows by their places, asked for those alone that may be in the sample.
        """
        draws = uniform(keys, *self._salt)
        places = np.flatnonzero(draws <= self._last)
        if self._parts and not len(places):
            return
        tie = np.ascontiguousarray(hashes[places, :8]).view(np.uint64).ravel()
        self._parts.append((draws[places], tie, *arrays(places)))
        self._held += len(places)
        if self._held > 2 * self._limit:
            self._cut()

    def _cut(self) -> None:
        columns = [np.concatenate(part) for part in zip(*self._parts, strict=True)]
        order = np.lexsort((columns[1], columns[0]))[: self._limit]
        self._parts = [tuple(column[order] for column in columns)]
        self._held = len(self._parts[0][0])
        if self._held == self._limit:
            self._last = float(self._parts[0][0][-1])

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """The sample in order of draw; some row must have been added."""
        self._cut()
        return self._parts[0][2:]


def known_labels(y: NDArray[Any]) -> NDArray[np.bool_]:
    """Labels that a model can be trained on: all numbers, and classes of the generation.

    Args:
        y: Encoded labels ``(rows,)``; a class that came after the generation was fitted is -1.
    """
    return np.ones(len(y), dtype=bool) if y.dtype.kind == "f" else y >= 0
