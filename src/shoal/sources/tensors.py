"""Cells that hold arrays of numbers: images, and vectors of features.

An array is a fixed shape tensor, lists of fixed length, lists of any length that turn out to have
one (as other programs write them, nested or flat), or an encoded picture, such as PNG or JPEG, as
bytes or as a path. A picture becomes ``(height, width)`` if it is grey, and ``(3, height, width)``
if it has colours, as torch's convolutions take them.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from shoal.sources.columns import Place

_STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")
"""First bytes of PNG, JPEG, GIF, BMP, WebP and TIFF."""
_GREY = ("1", "L", "LA")
_EIGHT_BITS = (*_GREY, "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")


def holds_pictures(kind: pa.DataType) -> bool:
    """Whether cells of an Arrow type can be pictures: bytes, paths, or both beside each other."""
    if pa.types.is_struct(kind):
        names = {kind.field(number).name for number in range(kind.num_fields)}
        return {"bytes", "path"} <= names
    return _holds_bytes(kind) or pa.types.is_string(kind)


def are_pictures(values: pa.Array) -> bool:
    """Whether a column that is not declared holds pictures, judged by the start of a cell."""
    if pa.types.is_struct(values.type):
        return holds_pictures(values.type)
    if not _holds_bytes(values.type):
        return False
    first = values.drop_null()
    return len(first) > 0 and first[0].as_py().startswith(_STARTS)


def picture_shape(
    values: pa.Array, place: Place, size: Sequence[int] | None, channels: int | None
) -> list[int] | None:
    """Shape of a column's pictures: as declared, or as the first one has it; None without any.

    Args:
        values: The column.
        place: Where it lies, for messages.
        size: Height and width, if they are declared.
        channels: 1 or 3, if that is declared.
    """
    for index, cell in enumerate(values.to_pylist()):
        if cell is None:
            continue
        picture = _opened(cell, place, index)
        height, width = size or (picture.height, picture.width)
        colours = channels or (1 if picture.mode in _GREY else 3)
        return [height, width] if colours == 1 else [3, height, width]
    return None


def decoded(
    values: pa.Array, place: Place, shape: Sequence[int], *, resize: bool
) -> NDArray[np.uint8]:
    """Pictures as uint8 ``(rows, *shape)``.

    Args:
        values: The column.
        place: Where it lies; paths are relative to its file's folder.
        shape: ``(height, width)`` or ``(3, height, width)``.
        resize: Whether those of another size are resized.

    Raises:
        SourceError: A cell is missing, no picture, too large, of more than eight bits a channel,
            or of another size.
    """
    from PIL.Image import Resampling

    out = np.empty((len(values), *shape), dtype=np.uint8)
    height, width = shape[-2:]
    for index, cell in enumerate(values.to_pylist()):
        if cell is None:
            raise place.error(index, "the image is missing")
        picture = _opened(cell, place, index).convert("L" if len(shape) == 2 else "RGB")
        if picture.size != (width, height):
            if not resize:
                raise place.error(
                    index,
                    f"the image is of {picture.height} x {picture.width} pixels, others of "
                    f"{height} x {width}; declare sources.images.size",
                )
            picture = picture.resize((width, height), Resampling.BILINEAR)
        pixels = np.asarray(picture)
        out[index] = pixels if len(shape) == 2 else pixels.transpose(2, 0, 1)
    return out


def _holds_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _opened(cell: Any, place: Place, index: int) -> Image.Image:  # noqa: ANN401 - bytes, a path, or both
    """A picture in its own mode, turned upright."""
    import warnings

    from PIL import Image, ImageOps, UnidentifiedImageError

    content, path = (
        (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
    )
    if isinstance(content, str):
        content, path = None, content
    if content is None and path is None:
        raise place.error(index, "the image is missing")
    name = repr(path) if content is None else f"{len(content)} bytes"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if content is None:
                content = Path(place.source).parent.joinpath(str(path)).expanduser().read_bytes()
            picture = Image.open(io.BytesIO(content))
            if picture.mode not in _EIGHT_BITS:
                raise place.error(
                    index,
                    f"{name}: a picture of mode {picture.mode}, not of 8 bits per channel; "
                    f"save such images as arrays",
                )
            picture.load()
            return ImageOps.exif_transpose(picture)
    except FileNotFoundError:
        raise place.error(
            index, f"{name}: no such file; paths begin at the folder of {place.source}"
        ) from None
    except UnidentifiedImageError:
        raise place.error(index, f"{name}: not a picture that Pillow reads") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise place.error(index, f"{name}: a picture of too many pixels") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise place.error(index, f"{name}: the picture does not decode ({reason})") from None


ArrayLayout = tuple[list[int], str]
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


def layout_of(values: pa.Array) -> ArrayLayout | None:
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
    values: pa.Array, place: Place, kind: str, layout: ArrayLayout, *, resize: bool
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
    rows = kept_as(_checked(values, place, kind, shape).reshape(len(values), *shape))
    flat = rows.reshape(len(rows), -1)
    if rows.dtype != np.uint8:
        finite = np.isfinite(flat).all(axis=1)
        _first(place, ~finite, f"the {kind} holds a missing or infinite value")
        if element == "uint8":
            whole = (flat == np.rint(flat)) & (flat >= 0) & (flat <= 255)
            not_byte = f"the {kind} holds a value that is not a byte (uint8)"
            _first(place, ~whole.all(axis=1), not_byte)
    return rows.astype(element, copy=False)


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
    """All entries of all arrays, in order; refuses a level of another length than the shape's."""
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
                other = _fixed_shape(values.type) or inner.type.list_size
                raise place.whole(f"holds {kind}s of shape {other}, not {list(shape)}")
        else:
            lengths = pc.list_value_length(inner)
            wrong = pc.not_equal(lengths, length)
            if pc.any(wrong).as_py():
                got = lengths[pc.index(wrong, True).as_py()].as_py()
                wanted = f"{length} belong: the column's arrays are of shape {list(shape)}"
                _at(place, wrong, len(values), f"{got} numbers where {wanted}")
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
    """Refuse the row of the first wrong entry of a level."""
    index = pc.index(wrong, True).as_py()
    if index >= 0:
        raise place.error(index * rows // len(wrong), problem)


def _first(place: Place, wrong: NDArray[np.bool_], problem: str) -> None:
    if wrong.any():
        raise place.error(int(np.argmax(wrong)), problem)
