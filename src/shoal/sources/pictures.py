"""Encoded pictures, such as PNG and JPEG, as bytes or as paths: to arrays of bytes.

A picture becomes ``(height, width)`` if it is grey, and ``(3, height, width)`` if it has colours,
as torch's convolutions take them.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from shoal.sources.values import Place

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
    """Whether a column that nobody declared holds pictures: its first cell begins as one does."""
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
    """One picture, upright, its pixels still in its own mode."""
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
