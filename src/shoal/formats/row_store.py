"""Row-aligned arrays of one shard in one zarr zip file."""

from __future__ import annotations

import contextlib
import warnings
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from shoal.errors import CorruptError, SourceError
from shoal.formats.files import replacing
from shoal.formats.hashing import uniform
from shoal.formats.provenance import made_from
from shoal.formats.units import UNIT

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

CHUNK_ROWS = 256
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class RowArray:
    """Shape of one row of an array, and its numpy type."""

    shape: tuple[int, ...]
    dtype: str


def write_rows(
    path: str | os.PathLike[str],
    rows: int,
    arrays: Mapping[str, RowArray],
    batches: Iterable[Mapping[str, NDArray[Any]]],
    attributes: Mapping[str, object],
) -> None:
    """Write a shard's arrays from batches of rows; the same content gives the same bytes.

    Args:
        path: The file, by convention ``*.zarr.zip``; it appears when it is complete.
        rows: Rows in all batches together.
        arrays: Name to type of each array.
        batches: Consecutive rows, every array in each; of any sizes.
        attributes: JSON values kept beside the arrays.

    Raises:
        ValueError: The batches hold another number of rows than ``rows``.
    """
    import zarr

    record = dict(attributes) | {"rows": rows} | made_from()
    with replacing(path) as aside:
        raw = aside.with_name(f"{aside.name}.raw")
        try:
            with _raw_store(raw) as store:
                group = zarr.create_group(store, attributes=record)
                targets = {
                    name: group.create_array(
                        name,
                        shape=(rows, *spec.shape),
                        chunks=(CHUNK_ROWS, *spec.shape),
                        dtype=spec.dtype,
                    )
                    for name, spec in arrays.items()
                }
                written = 0
                for block in _in_chunks(batches, list(arrays)):
                    count = len(next(iter(block.values())))
                    for name, target in targets.items():
                        target[written : written + count] = block[name]
                    written += count
            if written != rows:
                raise ValueError(f"{path}: {written} rows written, {rows} announced")
            _rezip(raw, aside)
        finally:
            raw.unlink(missing_ok=True)


@contextlib.contextmanager
def _raw_store(path: Path) -> Iterator[Any]:
    """A zarr store in a new zip file, which is closed even when the disk is full.

    After an error zarr still writes the chunks that it has begun, and opens a closed store anew
    for them. So the store stays open, around a file that is closed.
    """
    from zarr.storage import ZipStore

    store = ZipStore(path, mode="w")
    try:
        yield store
        store.close()
    except BaseException:
        archive = getattr(store, "_zf", None)
        if archive is not None and archive.fp is not None:
            with contextlib.suppress(OSError):
                archive.fp.close()
            archive.fp = None
        raise


def _in_chunks(
    batches: Iterable[Mapping[str, NDArray[Any]]], names: list[str]
) -> Iterator[dict[str, NDArray[Any]]]:
    """The same rows in blocks of a multiple of CHUNK_ROWS, so that no chunk is written twice."""
    pending: dict[str, NDArray[Any]] | None = None
    for batch in batches:
        block = {name: np.asarray(batch[name]) for name in names}
        if pending is not None:
            block = {name: np.concatenate([pending[name], block[name]]) for name in names}
        whole = len(block[names[0]]) // CHUNK_ROWS * CHUNK_ROWS
        if whole:
            yield {name: block[name][:whole] for name in names}
        pending = {name: block[name][whole:] for name in names}
    if pending is not None and len(pending[names[0]]):
        yield pending


def _rezip(source: Path, target: Path) -> None:
    """Copy a zip member by member with fixed times, so that equal content is equal bytes."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in sorted(old.namelist()):
            new.writestr(zipfile.ZipInfo(name, _ZIP_TIME), old.read(name))


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
        import zarr
        from zarr.storage import ZipStore

        self.path = path
        try:
            self._store = ZipStore(path, mode="r")  # type: ignore[arg-type]
            self._group = zarr.open_group(self._store, mode="r")
        except FileNotFoundError:
            raise SourceError(f"{path}: no such file") from None
        except (zipfile.BadZipFile, KeyError, ValueError) as error:
            raise CorruptError(f"{path}: not a readable zarr zip file ({error})") from None
        self._arrays: dict[str, Any] = {}
        self.attributes: dict[str, Any] = dict(self._group.attrs)
        self.rows = int(self.attributes["rows"])
        self.rows_read: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def _array(self, name: str) -> Any:  # noqa: ANN401 - a zarr array
        if name not in self._arrays:
            self._arrays[name] = self._group[name]
        return self._arrays[name]

    def __contains__(self, name: str) -> bool:
        return name in self._group

    def names(self, wanted: Iterable[str]) -> list[str]:
        """The wanted arrays that there are: all but units, where rows do not belong together."""
        return [name for name in wanted if name != UNIT or name in self]

    def row_shape(self, name: str) -> tuple[int, ...]:
        """Shape of one row of an array."""
        return tuple(self._array(name).shape[1:])

    def read(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Rows ``start`` to ``stop`` (exclusive; all by default) of an array."""
        stop = self.rows if stop is None else min(stop, self.rows)
        if stop <= start:
            array = self._array(name)
            return np.empty((0, *array.shape[1:]), dtype=array.dtype)
        first = start // CHUNK_ROWS * CHUNK_ROWS
        last = min(-(-stop // CHUNK_ROWS) * CHUNK_ROWS, self.rows)
        self.rows_read[name] = self.rows_read.get(name, 0) + last - first
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                return np.asarray(self._array(name)[start:stop])
        except (zipfile.BadZipFile, RuntimeError, ValueError) as error:
            raise CorruptError(f"{self.path}: array {name!r} does not read ({error})") from None

    def blocks(
        self, names: list[str], rows: int = 16 * CHUNK_ROWS
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """Consecutive blocks of at most ``rows`` rows of the named arrays, in file order."""
        for start in range(0, self.rows, rows):
            yield {name: self.read(name, start, start + rows) for name in names}


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

    def add(
        self, keys: NDArray[np.uint8], hashes: NDArray[np.uint8], *arrays: NDArray[Any]
    ) -> None:
        """Add rows; among those of one key, which draw alike, their hashes decide."""
        tie = np.ascontiguousarray(hashes[:, :8]).view(np.uint64).ravel()
        self._parts.append((uniform(keys, *self._salt), tie, *arrays))
        self._held += len(keys)
        if self._held > 2 * self._limit:
            self._cut()

    def _cut(self) -> None:
        columns = [np.concatenate(part) for part in zip(*self._parts, strict=True)]
        order = np.lexsort((columns[1], columns[0]))[: self._limit]
        self._parts = [tuple(column[order] for column in columns)]
        self._held = len(self._parts[0][0])

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
