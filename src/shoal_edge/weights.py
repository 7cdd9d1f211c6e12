"""The tensors of a file against those of the file before: what a patch says of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal_edge.errors import PatchError
from shoal_edge.integers import put_differences, put_steps, take_differences, take_steps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from shoal_edge.integers import Reader, Writer
    from shoal_edge.tensor_file import Tensor

    Unsigned = NDArray[np.unsignedinteger[Any]]
    Old = Mapping[str, tuple[Tensor, memoryview]]
    """The tensors before, by name, with the data of their file."""

SAME, STEPS, BITS, NEW, NEAR = range(5)
"""As before; steps on a common grid; differences of bit patterns; those from zeros; steps from a
similar tensor, rounded to the grid."""

_MANTISSA = 23
_EXACT = 24
"""Bits of integers that float32 holds."""

_FARTHEST = 1 << 15
"""Longest step that is told as one."""


def put_tensors(
    out: Writer, tensors: Sequence[Tensor], data: memoryview, old: Old, similar: Old
) -> None:
    """Add what turns the tensors before into those of a file.

    Args:
        out: The streams.
        tensors: The file's tensors, in order.
        data: Its data.
        old: The tensors before.
        similar: Tensors that those may be near which are not there before.
    """
    steps: list[NDArray[np.int32]] = []
    for tensor in tensors:
        new, before = tensor.patterns(data), _before(tensor, old)
        is_float32, near, exponent = tensor.dtype == "F32", before, None
        if before is None:
            near = _before(tensor, similar)
            exponent = grid_near(near, new) if near is not None and is_float32 else None
            coding = NEW if exponent is None else NEAR
        elif np.array_equal(new, before):
            coding = SAME
        else:
            exponent = common_grid(before, new) if is_float32 else None
            coding = BITS if exponent is None else STEPS
        if near is not None and exponent is not None:
            steps.append(_on_grid(new, exponent) - _on_grid(near, exponent))
            out.put("exponents", np.array([exponent], "<i2").view(np.uint8))
        out.put("codings", np.array([coding], np.uint8))
        if coding in (BITS, NEW):
            was = np.zeros_like(new) if before is None or coding == NEW else before
            put_differences(out, was, new, is_float=tensor.is_float)
    put_steps(out, np.concatenate([np.empty(0, np.int32), *steps]))


def take_tensors(streams: Reader, tensors: Sequence[Tensor], old: Old, similar: Old) -> list[bytes]:
    """Bytes of the tensors of a file, in order.

    Args:
        streams: The streams.
        tensors: The file's tensors.
        old: The tensors before.
        similar: Tensors that those may be near which are not there before.
    """
    codings = streams.take("codings", len(tensors)).tolist()
    found: list[bytes] = []
    stepping: list[tuple[int, NDArray[np.int32], int]] = []
    for place, (tensor, coding) in enumerate(zip(tensors, codings, strict=True)):
        before = _before(tensor, similar if coding == NEAR else old)
        count = (tensor.stop - tensor.start) // tensor.width
        if coding == NEW:
            before = np.zeros(count, f"<u{tensor.width}")
        if before is None or coding > NEAR:
            raise PatchError(f"tensor {tensor.name[:80]!r} is not there before")
        if coding in (STEPS, NEAR):
            if tensor.dtype != "F32":
                raise PatchError(f"tensor {tensor.name[:80]!r} has no grid")
            exponent = int(streams.take("exponents", 2).view("<i2")[0])
            stepping.append((place, _on_grid(before, exponent), exponent))
            found.append(b"")
        elif coding == SAME:
            found.append(before.tobytes())
        else:
            found.append(take_differences(streams, before, is_float=tensor.is_float).tobytes())
    steps, done = take_steps(streams, sum(len(integers) for _, integers, _ in stepping)), 0
    for place, integers, exponent in stepping:
        own = steps[done : done + len(integers)]
        done += len(integers)
        number = (integers + own).astype(np.float64)
        with np.errstate(over="ignore"):  # of a damaged patch
            found[place] = (number * 2.0**exponent).astype("<f4").tobytes()
    return found


def _before(tensor: Tensor, old: Old) -> Unsigned | None:
    """Patterns of the tensor of the same name, type and shape."""
    if tensor.name not in old:
        return None
    before, data = old[tensor.name]
    if (before.dtype, before.shape) != (tensor.dtype, tensor.shape):
        return None
    return before.patterns(data)


def common_grid(before: Unsigned, new: Unsigned) -> int | None:
    """Exponent of the largest power of two that values before and after are multiples of.

    Args:
        before: Patterns of float32 numbers ``(values,)``.
        new: The same.

    Returns:
        The exponent; None where the multiples do not all fit into 24 bits, or the steps between
        them are long; or where there is a -0, a denormal or what is no number.
    """
    both = np.concatenate([before, new]).astype(np.uint32)
    magnitude = both & np.uint32(0x7FFFFFFF)
    if (both == np.uint32(1 << 31)).any():
        return None
    magnitude = magnitude[magnitude > 0]
    if not len(magnitude):
        return 0
    exponents = (magnitude >> _MANTISSA).astype(np.int32)
    if exponents.min() == 0 or exponents.max() == 255:
        return None
    integers = (magnitude & np.uint32((1 << _MANTISSA) - 1)) | np.uint32(1 << _MANTISSA)
    lowest = integers & (~integers + np.uint32(1))
    zeros = np.frexp(lowest.astype(np.float32))[1] - 1
    unit = int((exponents - 127 - _MANTISSA + zeros).min())
    if int(exponents.max()) - 127 + 1 - unit > _EXACT:
        return None
    steps = _on_grid(new, unit) - _on_grid(before, unit)
    return unit if np.abs(steps).max() <= _FARTHEST else None


def grid_near(near: Unsigned, new: Unsigned) -> int | None:
    """Exponent of the grid of new values, if others are near them once they are rounded to it.

    Args:
        near: Patterns of float32 numbers ``(values,)``, on any grid or none.
        new: The same, of the new values.

    Returns:
        The exponent; None where :func:`common_grid` has none of the new values, or the others are
        far from them or no numbers.
    """
    exponent = common_grid(new, new)
    if exponent is None:
        return None
    way = _on_grid(new, exponent) - near.view(np.float32).astype(np.float64) * 2.0**-exponent
    is_near = np.isfinite(way).all() and np.abs(way).max(initial=0) < _FARTHEST
    return exponent if is_near else None


def _on_grid(patterns: Unsigned, exponent: int) -> NDArray[np.int32]:
    """Multiples of a power of two that float32 numbers are, or the nearest, halves to even."""
    values = patterns.view(np.float32).astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):  # of a damaged patch
        return np.rint(values * 2.0**-exponent).astype(np.int32)
