"""Fitted state as data: named tensors and JSON in one safetensors file, every tensor hashed."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, overload

import numpy as np
from typing_extensions import TypedDict

from shoal.errors import CorruptError, SourceError
from shoal.formats.files import replacing
from shoal.formats.hashing import canonical_json
from shoal.formats.json_file import parse_json
from shoal.formats.provenance import made_from
from shoal.formats.stored import as_kind, naming

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    Tensors = Mapping[str, NDArray[Any]]
    Loaded = tuple[dict[str, NDArray[Any]], dict[str, Any]]

T = TypeVar("T")


class State(NamedTuple):
    """Fitted state as :func:`save_state` takes it.

    Attributes:
        tensors: Arrays by name.
        meta: JSON values: what else it takes to build the object again.
    """

    tensors: Tensors
    meta: Mapping[str, object]


_LENGTH_BYTES = 8
"""Bytes at the beginning of a safetensors file, which tell the length of its header."""

_LONGEST_HEADER = 1 << 25
"""Most bytes of a header; each tensor's name, place and hash take about 200."""

_NUMPY_ERRORS = (ValueError, KeyError, TypeError, AttributeError)
"""For types and shapes that safetensors knows and numpy does not."""


def tensor_hash(tensor: NDArray[Any]) -> str:
    """SHA-256 over a tensor's type, shape and bytes, hexadecimal."""
    head = canonical_json([tensor.dtype.str, list(tensor.shape)]).encode()
    return hashlib.sha256(head + b"\n" + np.ascontiguousarray(tensor).tobytes()).hexdigest()


def save_state(
    path: str | os.PathLike[str],
    tensors: Tensors,
    meta: Mapping[str, object],
    *,
    recorded: bool = True,
) -> None:
    """Write tensors and JSON ``meta`` to a safetensors file, atomically and byte for byte alike.

    Args:
        path: The file.
        tensors: Arrays by name.
        meta: JSON values.
        recorded: Whether it says what it was made from; without, equal state is equal bytes.
    """
    from safetensors.numpy import save_file

    arrays = {name: np.asarray(tensors[name], order="C") for name in sorted(tensors)}
    hashes = {name: tensor_hash(array) for name, array in arrays.items()}
    record = {"meta": dict(meta), "hashes": hashes} | (made_from() if recorded else {})
    header = {"shoal": canonical_json(record)}
    with replacing(path) as aside:
        save_file(arrays, aside, metadata=header)


@overload
def load_state(path: str | os.PathLike[str]) -> Loaded: ...


@overload
def load_state(
    path: str | os.PathLike[str], kind: type[T]
) -> tuple[dict[str, NDArray[Any]], T]: ...


def load_state(path: str | os.PathLike[str], kind: Any = None) -> tuple[Any, Any]:
    """Tensors and ``meta`` of a file that :func:`save_state` wrote.

    Args:
        path: The file.
        kind: Type of ``meta``: a ``TypedDict``; other keys are left out of the result.

    Raises:
        SourceError: There is no such file.
        CorruptError: The file is not one of Shoal's, a tensor does not match its hash, or
            ``meta`` is of another kind.
    """
    with opened_state(path, kind) as state:
        return {name: state.tensor(name) for name in state.hashes}, state.meta


@dataclass(frozen=True)
class Opened(Generic[T]):
    """An open file that :func:`save_state` wrote, whose tensors are read one by one.

    Attributes:
        path: The file.
        opened: It, as safetensors has it open.
        hashes: Hash of each tensor, by name.
        meta: The JSON values beside the tensors.
    """

    path: str | os.PathLike[str]
    opened: Any
    hashes: dict[str, str]
    meta: T

    def tensor(self, name: str) -> NDArray[Any]:
        """One of the tensors.

        Raises:
            CorruptError: It does not read, or does not match its hash.
        """
        try:
            tensor: NDArray[Any] = self.opened.get_tensor(name)
        except _NUMPY_ERRORS as error:
            raise _unreadable(self.path, error) from None
        _check_hash(tensor, name, self.hashes, self.path)
        return tensor


@contextmanager
def opened_state(path: str | os.PathLike[str], kind: type[T] | None = None) -> Iterator[Opened[T]]:
    """A file as of :func:`load_state`, of which nothing but the header is read yet.

    Args:
        path: The file.
        kind: Type of ``meta``.

    Raises:
        SourceError: There is no such file.
        CorruptError: The file is not one of Shoal's, or ``meta`` is of another kind.
    """
    with sliced(path) as opened:
        record = _record(opened.keys(), opened.metadata() or {}, path)
        meta: Any = record["meta"]
        if kind is not None:
            with naming(path):
                meta = as_kind(kind, meta)
        yield Opened(path, opened, record["hashes"], meta)


@contextmanager
def sliced(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A file that :func:`save_state` wrote, open for parts of tensors (``get_slice``).

    Parts are not compared with the tensors' hashes.

    Raises:
        SourceError: There is no such file.
        CorruptError: It does not read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        check_header(path)
        file = safe_open(path, framework="np")
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file") from None
    except SafetensorError as error:
        raise _unreadable(path, error) from None
    try:
        with file as opened:
            yield opened
    except SafetensorError as error:
        raise _unreadable(path, error) from None


def parse_state(content: bytes, path: object) -> Loaded:
    """The same from the bytes of a file, so that the content that was hashed is read.

    Args:
        content: The file's content.
        path: Its file, for messages.

    Raises:
        CorruptError: As :func:`load_state`.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    length = _check_header(content[:_LENGTH_BYTES], path)
    try:
        tensors = load(content)
    except (SafetensorError, *_NUMPY_ERRORS) as error:
        raise _unreadable(path, error) from None
    # The library has checked that the header is JSON with such a table.
    header = parse_json(content[_LENGTH_BYTES : _LENGTH_BYTES + length], path, dict[str, Any])
    record = _record(tensors, header.get("__metadata__") or {}, path)
    for name, tensor in tensors.items():
        _check_hash(tensor, name, record["hashes"], path)
    return tensors, record["meta"]


def check_header(path: str | os.PathLike[str]) -> None:
    """Refuse a safetensors file whose header would take much memory, before it is opened.

    Raises:
        CorruptError: Its header is too long.
    """
    with Path(path).open("rb") as file:
        _check_header(file.read(_LENGTH_BYTES), path)


def _check_header(start: bytes, path: object) -> int:
    """Length of a header, from the number that a file begins with."""
    length = int.from_bytes(start, "little")
    if len(start) == _LENGTH_BYTES and length > _LONGEST_HEADER:
        raise CorruptError(
            f"{path}: not readable as safetensors (a header of {length} bytes, "
            f"{_LONGEST_HEADER} are the most)"
        )
    return length


def _unreadable(path: object, error: Exception) -> CorruptError:
    return CorruptError(f"{path}: not readable as safetensors ({error})")


class _Record(TypedDict):
    hashes: dict[str, str]
    meta: dict[str, Any]


def _record(names: Iterable[str], header: Mapping[str, str], path: object) -> _Record:
    """Shoal's part of a header, if it is of these tensors."""
    if "shoal" not in header:
        raise CorruptError(f"{path}: a safetensors file without Shoal's record")
    record = parse_json(header["shoal"], path, _Record)
    if set(record["hashes"]) != set(names):
        raise CorruptError(f"{path}: holds other tensors than its record says")
    return record


def _check_hash(tensor: NDArray[Any], name: str, hashes: Mapping[str, str], path: object) -> None:
    if tensor_hash(tensor) != hashes[name]:
        raise CorruptError(f"{path}: tensor {name!r} does not match its hash")
