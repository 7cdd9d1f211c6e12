"""The state of a training as one safetensors file: tensors as they are, all else as JSON.

No pickle: a file can hold numbers, text, tensors and containers of them, and reading one can
make nothing else.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from shoal.errors import CorruptError, ModelError
from shoal.formats.fitted_state import load_state, save_state
from shoal.formats.hashing import json_hash

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Tensors = dict[str, NDArray[Any]]

_SEQUENCES = {"list": list, "tuple": tuple, "set": set}
_MAPPINGS = {"dict": dict, "OrderedDict": OrderedDict, "Counter": Counter}


def write_checkpoint(path: str | os.PathLike[str], content: Mapping[str, object]) -> None:
    """Write nested containers of tensors, numbers and text to one file, atomically.

    Raises:
        ModelError: Something in it is of another kind.
    """
    tensors: Tensors = {}
    structure = _packed(content, tensors, "checkpoint")
    save_state(path, tensors, {"structure": structure, "digest": json_hash(structure)})


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Content of a file of :func:`write_checkpoint`, of the same types, all tensors on the CPU.

    Raises:
        SourceError: There is no such file.
        CorruptError: It is not such a file, or not what its hashes say.
    """
    tensors, meta = load_state(path)
    if meta.keys() != {"structure", "digest"} or json_hash(meta["structure"]) != meta["digest"]:
        raise CorruptError(f"{path}: not a checkpoint, or damaged")
    try:
        content: dict[str, Any] = _unpacked(meta["structure"], tensors)
    except Exception as error:  # whatever a forged structure leads to
        raise CorruptError(f"{path}: not a checkpoint ({type(error).__name__})") from None
    return content


def _packed(value: Any, tensors: Tensors, place: str) -> Any:  # noqa: ANN401 - of many kinds
    """JSON that stands for a value; its tensors are added to ``tensors``."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return _packed_tensor(value, tensors, place)
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(float(value))}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    kind = type(value).__name__
    if type(value) is _SEQUENCES.get(kind):
        return {kind: [_packed(part, tensors, f"{place}[{n}]") for n, part in enumerate(value)]}
    if type(value) is _MAPPINGS.get(kind):
        return {
            kind: [
                [_packed(key, tensors, place), _packed(part, tensors, f"{place}[{key!r}]")]
                for key, part in value.items()
            ]
        }
    raise ModelError(f"{place} is a {kind}, which a checkpoint cannot hold")


def _packed_tensor(
    value: torch.Tensor | NDArray[Any], tensors: Tensors, place: str
) -> dict[str, object]:
    """Bytes under a number: neither numpy nor safetensors knows all of torch's types."""
    kind = "tensor" if isinstance(value, torch.Tensor) else "array"
    tensor = value if isinstance(value, torch.Tensor) else torch.from_numpy(value)
    if tensor.layout is not torch.strided or tensor.is_quantized:
        raise ModelError(f"{place} is sparse or quantized, which a checkpoint cannot hold")
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    name = str(len(tensors))
    tensors[name] = flat.view(torch.uint8).numpy()
    dtype = str(tensor.dtype).removeprefix("torch.")
    return {kind: [name, dtype, list(tensor.shape)]}


def _unpacked(value: Any, tensors: Tensors) -> Any:  # noqa: ANN401 - of many kinds
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "float":
        return float(content)
    if kind in _SEQUENCES:
        return _SEQUENCES[kind](_unpacked(part, tensors) for part in content)
    if kind in _MAPPINGS:
        pairs = [(_unpacked(key, tensors), _unpacked(part, tensors)) for key, part in content]
        return _MAPPINGS[kind](dict(pairs))
    name, dtype, shape = content
    held = torch.from_numpy(tensors[name].copy())
    # No bytes cannot be viewed as another type.
    flat = held.view(_dtype(dtype)) if held.numel() else held.to(_dtype(dtype))
    tensor = flat.reshape(shape)
    return tensor if kind == "tensor" else tensor.numpy()


def _dtype(name: str) -> torch.dtype:
    dtype = getattr(torch, name)
    if not isinstance(dtype, torch.dtype):
        raise CorruptError(f"{name} is no type of tensors")
    return dtype
