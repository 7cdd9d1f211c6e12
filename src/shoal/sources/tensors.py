"""Cells that hold arrays of numbers: images, and vectors of features.

An array has one of these forms: a fixed shape tensor, lists of fixed length, lists of any length
that turn out to have one (as other programs write them, nested or flat), or an encoded picture
(see :mod:`shoal.sources.pictures`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shoal.sources.pictures import decoded, holds_pictures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from shoal.sources.values import Place

Layout = tuple[list[int], str]
"""Shape of one row's array, and the numpy type that it is kept in."""

SCALES_APART = 1e3
"""Where one entry of an array ranges so much further than others, they cannot share one scale."""


def holds_arrays(kind: pa.DataType) -> bool:
    """Whether cells of an Arrow type are arrays of numbers."""
    levels = _levels(kind)
    element = _element(kind)
    return levels > 0 and (
        pa.types.is_boolean(element)
        or pa.types.is_integer(element)
        or pa.types.is_floating(element)
    )


def layout_of(values: pa.Array) -> Layout | None:
    """Layout of an array column by its type, or else by its first array; None without any."""
    element = _element(values.type)
    shape = _fixed_shape(values.type)
    if shape is None:
        present = values.drop_null()
        if not len(present):
            return None
        shape = list(np.shape(present[0].as_py()))
    small = pa.types.is_uint8(element) or pa.types.is_boolean(element)
    return shape, "uint8" if small else "float64" if len(shape) == 1 else "float32"


def scales_differ(values: pa.Array, shape: Sequence[int]) -> float | None:
    """How much further the widest entry of an array ranges than half of the others do.

    Entries that are constant do not count. None where it is at most ``SCALES_APART``.

    Args:
        values: Some rows of an array column, all of one shape.
        shape: That shape.
    """
    arrays = _flat(values.drop_null()).reshape(-1, math.prod(shape)).astype(np.float64)
    ranges = np.ptp(arrays, axis=0)
    ranges = ranges[ranges > 0]
    if not len(ranges):
        return None
    ratio = float(ranges.max() / np.median(ranges))
    return ratio if ratio > SCALES_APART else None


def arrays(
    values: pa.Array, place: Place, kind: str, layout: Layout, *, resize: bool
) -> NDArray[Any]:
    """Arrays of a column, ``(rows, *shape)``, all finite.

    Args:
        values: The column, which :func:`holds_arrays` or holds pictures.
        place: Where it lies, for messages.
        kind: ``image`` or ``vector``, for messages.
        layout: The layout that the column has.
        resize: Whether pictures of another size are resized.

    Raises:
        SourceError: An array is of another shape or type or missing, holds a missing or infinite
            value, or a picture does not decode.
    """
    shape, element = layout
    if holds_pictures(values.type):
        return decoded(values, place, shape, resize=resize)
    found = kept_as(_checked(values, place, kind, shape).reshape(len(values), *shape))
    flat = found.reshape(len(found), -1)
    if found.dtype != np.uint8:
        finite = np.isfinite(flat).all(axis=1)
        _first(place, ~finite, f"the {kind} holds a missing or infinite value")
        if element == "uint8":
            whole = (flat == np.rint(flat)) & (flat >= 0) & (flat <= 255)
            _first(
                place, ~whole.all(axis=1), f"the {kind} holds a value that is not a byte (uint8)"
            )
    return found.astype(element, copy=False)


def kept_as(values: NDArray[Any]) -> NDArray[Any]:
    """Arrays ``(rows, *shape)`` in a type that is kept: bytes, float64 (vectors) or float32."""
    if values.dtype in (np.uint8, bool):
        return values.astype(np.uint8, copy=False)
    with np.errstate(over="ignore"):  # becomes infinite, which is refused with its row
        return values.astype(np.float64 if values.ndim == 2 else np.float32, copy=False)


def _levels(kind: pa.DataType) -> int:
    """How deep lists are nested in an Arrow type."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return 1
    return 1 + _levels(kind.value_type) if _is_list(kind) else 0


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_fixed_size_list(kind) or types.is_list(kind) or types.is_large_list(kind))


def _element(kind: pa.DataType) -> pa.DataType:
    """Type of the innermost values."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return kind.value_type
    return _element(kind.value_type) if _is_list(kind) else kind


def _fixed_shape(kind: pa.DataType) -> list[int] | None:
    """Shape that the type alone tells; None where it does not."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return list(kind.shape)
    shape = []
    while _is_list(kind):
        if not pa.types.is_fixed_size_list(kind):
            return None
        shape.append(kind.list_size)
        kind = kind.value_type
    return shape


def _checked(values: pa.Array, place: Place, kind: str, shape: Sequence[int]) -> NDArray[Any]:
    """All entries of all arrays, in order, once every level has the length that it must."""
    expected = list(shape)
    if _levels(values.type) == 1:
        expected = [math.prod(shape)]
        fixed = _fixed_shape(values.type)
        if isinstance(values.type, pa.FixedShapeTensorType) and fixed != list(shape):
            raise place.whole(f"holds {kind}s of shape {fixed}, not {list(shape)}")
    if _levels(values.type) != len(expected):
        depth = _levels(values.type)
        raise place.whole(f"holds lists nested {depth} deep, not arrays of shape {list(shape)}")
    inner = values
    for level, length in enumerate(expected):
        if isinstance(inner, pa.ExtensionArray):
            missing, inner = inner.is_null(), inner.storage
        else:
            missing = inner.is_null()
        what = f"the {kind} is missing" if not level else f"the {kind} holds a missing value"
        _at(place, missing, len(values), what)
        if pa.types.is_fixed_size_list(inner.type):
            if inner.type.list_size != length:
                found = _fixed_shape(values.type) or inner.type.list_size
                raise place.whole(f"holds {kind}s of shape {found}, not {list(shape)}")
        else:
            lengths = pc.list_value_length(inner)
            wrong = pc.not_equal(lengths, length)
            if pc.any(wrong).as_py():
                got = lengths[pc.index(wrong, True).as_py()].as_py()
                _at(
                    place,
                    wrong,
                    len(values),
                    f"{got} numbers where {length} belong: the column's "
                    f"arrays are of shape {list(shape)}",
                )
        inner = inner.flatten()
    _at(place, inner.is_null(), len(values), f"the {kind} holds a missing value")
    return np.asarray(inner.to_numpy(zero_copy_only=False))


def _flat(values: pa.Array) -> NDArray[Any]:
    """All entries, in order."""
    inner = values
    while isinstance(inner, pa.ExtensionArray) or _is_list(inner.type):
        inner = inner.storage if isinstance(inner, pa.ExtensionArray) else inner.flatten()
    return np.asarray(inner.to_numpy(zero_copy_only=False))


def _at(place: Place, wrong: pa.Array, rows: int, problem: str) -> None:
    """Raise about the row of the first wrong entry of some level."""
    index = pc.index(wrong, True).as_py()
    if index >= 0:
        raise place.error(index * rows // len(wrong), problem)


def _first(place: Place, wrong: NDArray[np.bool_], problem: str) -> None:
    if wrong.any():
        raise place.error(int(np.argmax(wrong)), problem)
