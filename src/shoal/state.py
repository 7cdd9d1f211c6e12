"""Fitted state as data: named tensors and JSON in one safetensors file, every tensor hashed."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import CorruptError, SourceError
from shoal.files import replacing
from shoal.hashing import canonical_json
from shoal.made_from import made_from

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from numpy.typing import NDArray


def tensor_hash(tensor: NDArray[Any]) -> str:
    """SHA-256 over a tensor's type, shape and bytes, hexadecimal."""
    head = canonical_json([tensor.dtype.str, list(tensor.shape)]).encode()
    return hashlib.sha256(head + b"\n" + np.ascontiguousarray(tensor).tobytes()).hexdigest()


def save_state(
    path: str | os.PathLike[str],
    tensors: Mapping[str, NDArray[Any]],
    meta: Mapping[str, Any],
) -> None:
    """Write tensors and JSON ``meta`` to a safetensors file, atomically and byte for byte alike."""
    from safetensors.numpy import save_file

    arrays = {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}
    hashes = {name: tensor_hash(array) for name, array in arrays.items()}
    record = {"meta": dict(meta), "hashes": hashes} | made_from()
    header = {"shoal": canonical_json(record)}
    with replacing(path) as aside:
        save_file(arrays, aside, metadata=header)


def load_state(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Tensors and ``meta`` of a file that :func:`save_state` wrote.

    Raises:
        SourceError: There is no such file.
        CorruptError: The file is not one of Shoal's, or a tensor does not match its hash.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file") from None
    except SafetensorError as error:
        raise CorruptError(f"{path}: not readable as safetensors ({error})") from None
    try:
        record = json.loads(header["shoal"])
        hashes, meta = record["hashes"], record["meta"]
    except (KeyError, ValueError):
        raise CorruptError(f"{path}: a safetensors file without Shoal's record") from None
    if set(hashes) != set(tensors):
        raise CorruptError(f"{path}: holds other tensors than its record says")
    for name, tensor in tensors.items():
        if tensor_hash(tensor) != hashes[name]:
            raise CorruptError(f"{path}: tensor {name!r} does not match its hash")
    return tensors, meta
