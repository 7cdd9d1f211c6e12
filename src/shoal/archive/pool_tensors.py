"""A pool's files as named arrays for the model store, and back to the same bytes.

A tensor of a safetensors file is ``FILE:TENSOR``; the text of a file, which is all of a JSON file
and the header of a safetensors file, is ``FILE``, uint8. Digests are taken out of texts, since most
follow from the rest and none compresses: what is left of them is in two arrays of the pool.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal_edge.errors import PatchError
from shoal_edge.integers import Reader, Writer
from shoal_edge.patch import MANIFEST, sha256
from shoal_edge.tensor_file import LENGTH, split_file, tensors_of
from shoal_edge.texts import put_digests, with_digests, without_digests

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from shoal_edge.tensor_file import Tensor

_DIGESTS = (":digests.known", ":digests.new")
"""No file has an empty name, so no tensor has these."""
_FLOATS = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}


def pool_tensors(files: Mapping[str, bytes]) -> dict[str, NDArray[Any]]:
    """A pool's files as arrays.

    Args:
        files: Content of each file by name, the manifest among them.

    Raises:
        PatchError: A file is neither JSON nor safetensors, or such that it does not come back.
    """
    found: dict[str, NDArray[Any]] = {}
    out, done = Writer(), list[str]()
    for name in _in_order(files):
        header, data = split_file(files[name]) if _has_tensors(name) else (files[name], None)
        text, digests = without_digests(header)
        found[name] = np.frombuffer(text, np.uint8)
        known = [*done]
        if data is not None:
            for tensor in tensors_of(header):
                content = bytes(data[tensor.start : tensor.stop])
                found[f"{name}:{tensor.name}"] = _array(tensor, content)
                known.append(tensor.hash(content) or "")
        put_digests(out, digests, known)
        done.append(sha256(files[name]))
    streams = out.streams()
    for name in _DIGESTS:
        found[name] = streams.get(name[1:], np.empty(0, np.uint8))
    if pool_files(found) != dict(files):
        raise PatchError("a file's header is such that it would not come back")
    return found


def pool_files(tensors: Mapping[str, NDArray[Any]]) -> dict[str, bytes]:
    """The files of which :func:`pool_tensors` gave the arrays.

    Raises:
        PatchError: The arrays are not those of a pool.
    """
    found: dict[str, bytes] = {}
    streams, done = Reader({name[1:]: tensors[name] for name in _DIGESTS}), list[str]()
    for name in _in_order({key for key in tensors if ":" not in key}):
        text, known, parts = tensors[name].tobytes(), [*done], list[bytes]()
        # The tensors are known by the text with marks: digests are in strings beside them alone.
        for tensor in tensors_of(text.replace(b"\0", b"")) if _has_tensors(name) else ():
            parts.append(tensors[f"{name}:{tensor.name}"].tobytes())
            known.append(tensor.hash(parts[-1]) or "")
        text = with_digests(streams, text, known)
        if _has_tensors(name):
            text = b"".join([len(text).to_bytes(LENGTH, "little"), text, *parts])
        found[name] = text
        done.append(sha256(text))
    streams.end()
    return found


def _in_order(names: Mapping[str, Any] | set[str]) -> list[str]:
    """The manifest last: it lists the others' hashes."""
    return sorted(names, key=lambda name: (name == MANIFEST, name))


def _has_tensors(name: str) -> bool:
    return name.endswith(".safetensors")


def _array(tensor: Tensor, content: bytes) -> NDArray[Any]:
    """Numbers of a type that numpy has; the bit patterns of others."""
    dtype = _FLOATS.get(tensor.dtype, f"<u{tensor.width}")
    return np.frombuffer(content, dtype).reshape(tensor.shape)
