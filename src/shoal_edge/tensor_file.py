"""The header of a safetensors file, as text and as a list of tensors.

The library reads tensors; to write a file again bit for bit its header is needed as it stands.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal_edge.errors import PatchError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LENGTH = 8
"""Bytes at the beginning of a file, which tell the length of its header."""

_NUMPY = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
}
_WIDTHS = {"BF16": 2} | {dtype: int(name[-1]) for dtype, name in _NUMPY.items()}


@dataclass(frozen=True)
class Tensor:
    """Place and type of a tensor in a file.

    Attributes:
        name: Its name.
        dtype: Its type, as safetensors spells it.
        shape: Its shape.
        start: Where its bytes begin, behind the header.
        stop: Where they end.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def width(self) -> int:
        """Bytes of a value."""
        return _WIDTHS[self.dtype]

    @property
    def is_float(self) -> bool:
        """Whether its values are floating-point numbers."""
        return "F" in self.dtype

    def patterns(self, data: bytes | memoryview) -> NDArray[np.unsignedinteger[Any]]:
        """Its values' bit patterns ``(values,)``, from the bytes behind a header."""
        return np.frombuffer(data[self.start : self.stop], f"<u{self.width}")

    def hash(self, content: bytes) -> str | None:
        """Its hash as Shoal's files have it, see ``shoal.formats.fitted_state.tensor_hash``.

        Args:
            content: Its bytes.
        """
        if self.dtype not in _NUMPY:
            return None
        head = json.dumps([_NUMPY[self.dtype], list(self.shape)], separators=(",", ":"))
        return hashlib.sha256(head.encode() + b"\n" + content).hexdigest()


def split_file(content: bytes) -> tuple[bytes, memoryview]:
    """Header and data of a safetensors file.

    Raises:
        PatchError: It is too short for its header.
    """
    length = int.from_bytes(content[:LENGTH], "little")
    if len(content) < LENGTH + length:
        raise PatchError("not a safetensors file: it ends in its header")
    return content[LENGTH : LENGTH + length], memoryview(content)[LENGTH + length :]


def tensors_of(header: bytes) -> list[Tensor]:
    """Tensors in the order of their bytes.

    Args:
        header: The header's text.

    Raises:
        PatchError: It is none, or there are gaps between the tensors.
    """
    try:
        content = json.loads(header)
        found = [
            Tensor(name, each["dtype"], tuple(each["shape"]), *each["data_offsets"])
            for name, each in content.items()
            if name != "__metadata__"
        ]
        found.sort(key=lambda tensor: (tensor.start, tensor.stop))
        place = 0
        for tensor in found:
            sizes = (*tensor.shape, tensor.start, tensor.stop)
            if any(type(size) is not int or size < 0 for size in sizes) or tensor.start != place:
                raise PatchError(f"tensor {tensor.name[:80]!r} does not follow the one before it")
            if tensor.stop - place != math.prod(tensor.shape) * tensor.width:
                raise PatchError(f"tensor {tensor.name[:80]!r} is not as long as its shape")
            place = tensor.stop
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PatchError(f"not a safetensors header ({error})") from None
    return found
