"""Tensors as words of bits: their types, their content addresses, and models as Merkle trees."""

from __future__ import annotations

import functools
import hashlib
import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import ModelError
from shoal.formats.hashing import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

Tensors = dict[str, Any]
"""A model's tensors by name, of torch or numpy."""

JsonObject = dict[str, Any]
"""A JSON object that is kept with a model and not looked into."""

HASH_BYTES = 16


@dataclass(frozen=True)
class Dtype:
    """How elements of a type are cut into words.

    Attributes:
        bytes: Bytes per element.
        word: Bytes per word; a complex number is two words.
        fraction: For floats, bits of the fraction; ``None`` for integers.
    """

    bytes: int
    word: int
    fraction: int | None = None


DTYPES = {
    "bool": Dtype(1, 1),
    "uint8": Dtype(1, 1),
    "int8": Dtype(1, 1),
    "uint16": Dtype(2, 2),
    "int16": Dtype(2, 2),
    "uint32": Dtype(4, 4),
    "int32": Dtype(4, 4),
    "uint64": Dtype(8, 8),
    "int64": Dtype(8, 8),
    "float8_e4m3fn": Dtype(1, 1, 3),
    "float8_e4m3fnuz": Dtype(1, 1, 3),
    "float8_e5m2": Dtype(1, 1, 2),
    "float8_e5m2fnuz": Dtype(1, 1, 2),
    "float8_e8m0fnu": Dtype(1, 1),
    "bfloat16": Dtype(2, 2, 7),
    "float16": Dtype(2, 2, 10),
    "float32": Dtype(4, 4, 23),
    "float64": Dtype(8, 8, 52),
    "complex32": Dtype(4, 2, 10),
    "complex64": Dtype(8, 4, 23),
    "complex128": Dtype(16, 8, 52),
}
"""Every type that is stored, by torch's name for it, which is numpy's where numpy has it."""


@dataclass(frozen=True)
class Kind:
    """Type and shape of a tensor."""

    dtype: str
    shape: tuple[int, ...]

    @functools.cached_property
    def bytes(self) -> int:
        """Bytes of such a tensor."""
        return math.prod(self.shape) * DTYPES[self.dtype].bytes

    @functools.cached_property
    def words(self) -> int:
        """Words of such a tensor."""
        return self.bytes // DTYPES[self.dtype].word

    @functools.cached_property
    def word_type(self) -> np.dtype[Any]:
        """Unsigned little-endian integer that holds one word."""
        return np.dtype(f"<u{DTYPES[self.dtype].word}")


def stacked(values: list[Any], place: str) -> tuple[Kind, NDArray[np.uint8]]:
    """Kind and bytes of tensors of one type and shape, wherever and however they lie.

    Args:
        values: Tensors of torch, or arrays of numpy, of any strides; all on one device.
        place: Names the first of them in an error.

    Returns:
        Their kind, and uint8 ``(tensors, bytes)``, little-endian, each in C order.

    Raises:
        ModelError: They are no tensors, sparse, quantized, without data, or of a type that is
            not stored.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(values[0], torch.Tensor):
        return _stacked_tensors(torch, values, place)
    if not isinstance(values[0], np.ndarray | np.generic):
        raise ModelError(f"{place} is a {type(values[0]).__name__}, no tensor")
    dtype = values[0].dtype
    if dtype.name not in DTYPES:
        raise ModelError(f"{place} is of type {dtype.name}, which is not stored")
    kind = Kind(dtype.name, values[0].shape)
    rows = np.stack(values).astype(dtype.newbyteorder("<"), copy=False)
    return kind, np.ascontiguousarray(rows).reshape(-1).view(np.uint8).reshape(len(rows), -1)


def _stacked_tensors(
    torch: Any,  # noqa: ANN401 - the module, which only its users have imported
    values: list[Any],
    place: str,
) -> tuple[Kind, NDArray[np.uint8]]:
    first = values[0]
    name = str(first.dtype).removeprefix("torch.")
    if name not in DTYPES or first.layout is not torch.strided:
        raise ModelError(f"{place} is sparse, quantized or of type {name}, which is not stored")
    if first.is_meta:
        raise ModelError(f"{place} has no data: its device is meta")
    kind = Kind(name, tuple(first.shape))
    with torch.no_grad():
        rows = torch.stack(values).cpu()
    flat = rows.resolve_conj().resolve_neg().reshape(-1)
    if not flat.numel():
        return kind, np.empty((len(values), 0), np.uint8)
    return kind, flat.view(torch.uint8).numpy().reshape(len(values), kind.bytes)


def numpy_has(kind: Kind) -> bool:
    """Whether numpy has tensors of this type, whatever other packages may have taught it."""
    return isinstance(getattr(np, kind.dtype, None), type)


def as_arrays(kind: Kind, rows: NDArray[np.uint8]) -> list[NDArray[Any]]:
    """The numpy arrays that have these bytes, ``(tensors, bytes)``; they share their memory."""
    values = rows.view(np.dtype(kind.dtype).newbyteorder("<"))
    shaped = values.reshape(len(rows), *kind.shape)
    return [shaped[row, ...] for row in range(len(rows))]


def as_tensors(kind: Kind, rows: NDArray[np.uint8]) -> list[Any]:
    """The torch tensors that have these bytes, on the CPU; they share their memory."""
    import torch

    dtype = getattr(torch, kind.dtype)
    if not kind.bytes:
        return [torch.empty(kind.shape, dtype=dtype) for _ in rows]
    values = torch.from_numpy(rows).view(dtype).reshape(len(rows), *kind.shape)
    # .data: none counts the changes that are made to another.
    return [value.data for value in values.unbind()]


def hashes(kind: Kind, rows: NDArray[np.uint8]) -> list[bytes]:
    """Content address of each of many tensors of one kind.

    Args:
        kind: Type and shape of all.
        rows: uint8 ``(tensors, bytes)``.

    Returns:
        The first ``HASH_BYTES`` of a SHA-256 over type, shape and bytes, for each.
    """
    head = _head(kind)
    found = []
    for row in rows:
        digest = head.copy()
        digest.update(row)
        found.append(digest.digest()[:HASH_BYTES])
    return found


@functools.cache
def _head(kind: Kind) -> hashlib._Hash:
    """A hash that has read type and shape; only copies of it read on."""
    return hashlib.sha256(canonical_json([kind.dtype, list(kind.shape)]).encode() + b"\n")


@dataclass(frozen=True)
class Tree:
    """Merkle tree of a model, hexadecimal: tensors, layers above them, the model above these.

    Attributes:
        root: Equal for equal models.
        layers: Name of a module to its hash.
        tensors: Name of a tensor to its content address.
    """

    root: str
    layers: dict[str, str]
    tensors: dict[str, str]

    def apart(self, other: Tree) -> list[str]:
        """Names of the tensors that whoever has another model lacks of this one.

        Layers whose hash is equal are not looked into, and nothing where the roots are.
        """
        if self.root == other.root:
            return []
        layers = {name for name, digest in self.layers.items() if other.layers.get(name) != digest}
        return [
            name
            for name, address in self.tensors.items()
            if name.rpartition(".")[0] in layers and other.tensors.get(name) != address
        ]


def tree_of(tensors: Mapping[str, object]) -> Tree:
    """Tree of a model that is in no store."""
    addresses = {}
    for name, value in tensors.items():
        kind, rows = stacked([value], f"tensor {name!r}")
        addresses[name] = hashes(kind, rows)[0]
    return merkle(addresses)


def merkle(tensors: Mapping[str, bytes]) -> Tree:
    """Tree over content addresses; a tensor's layer is its name up to the last dot."""
    layers: dict[str, list[tuple[str, str]]] = {}
    for name in sorted(tensors):
        layer, _, parameter = name.rpartition(".")
        layers.setdefault(layer, []).append((parameter, tensors[name].hex()))
    nodes = {layer: _node(children) for layer, children in layers.items()}
    return Tree(_node(sorted(nodes.items())), nodes, {n: h.hex() for n, h in tensors.items()})


def _node(children: Sequence[tuple[str, str]]) -> str:
    text = canonical_json([list(child) for child in children])
    return hashlib.sha256(text.encode()).hexdigest()[: 2 * HASH_BYTES]
