"""NPZ files, read a block of rows at a time and never as pickle."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.lib import format as npy

from shoal.errors import SourceError, nearest
from shoal.formats.tables import image_array
from shoal.sources.tensors import kept_as

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from shoal.sources.opened import SourceFile

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
                yield from self._set_batches({name: arrays[name] for name in arrays}, rows, names)

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
    """Whether all characters are some: numpy takes any number for one, and Python does not."""
    numbers = np.ascontiguousarray(values).view(np.uint32)
    return not ((numbers > 0x10FFFF) | ((numbers >= 0xD800) & (numbers <= 0xDFFF))).any()
