"""Raw columns to typed ones: what a value means, and what is said when it has no meaning.

Missing are nulls, NaN in a number, and the strings in :data:`MISSING`, spelled just so. A
value means the same in every format: categories, labels, ids and groups have one text a value
(:mod:`shoal.sources.canonical`), and a 32-bit 0.1 is the number that its digits say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shoal.errors import SourceError
from shoal.sources.arrays import as_image
from shoal.sources.canonical import FALSE, TRUE, canonical, widened

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
NUMBER = r"^[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|(?i:inf|infinity|nan))$"


@dataclass(frozen=True)
class Place:
    """Where a column's values lie, for messages.

    Attributes:
        source: The file.
        first_row: Row of the first value, counted from 1 in the file.
        column: Name of the column.
        inferred: Whether its kind was inferred, from the rows that the generation was fitted on.
        predicted: Whether its rows are to be predicted by a pool.
    """

    source: str
    first_row: int
    column: str
    inferred: bool = False
    predicted: bool = False

    def error(self, index: int, problem: str, advice: str = "") -> SourceError:
        """An error about one value.

        Args:
            index: Its row, from 0.
            problem: What is wrong with it.
            advice: What to change in the settings, which who predicts with a pool does not have.
        """
        row = self.first_row + index
        inferred = "its kind was inferred: declare it, or `shoal refit` infers it anew"
        hints = [] if self.predicted else [advice, inferred if self.inferred else ""]
        said = "".join(f"; {hint}" for hint in hints if hint)
        return SourceError(f"{self.source}: row {row}, column {self.column!r}: {problem}{said}")

    def whole(self, problem: str) -> SourceError:
        """An error about the whole column."""
        return SourceError(f"{self.source}: column {self.column!r} {problem}")


def plain(values: pa.ChunkedArray) -> pa.Array:
    """One array, dictionaries decoded and every kind of string a ``string``."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_large_string(values.type) or pa.types.is_string_view(values.type):
        values = values.cast(pa.string())
    return values.combine_chunks()


def storage(kind: pa.DataType) -> str:
    """How a column is stored: number, string, time, image, nothing (null) or other."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    types = pa.types
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind):
        return "number"
    if types.is_decimal(kind):
        return "number"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "string"
    if types.is_timestamp(kind) or types.is_date(kind):
        return "time"
    if types.is_null(kind):
        return "nothing"
    return "image" if _element(kind) is not None else "other"


def image_layout(kind: pa.DataType) -> tuple[list[int], str]:
    """Shape of an image column's values and the type they are kept in."""
    shape: list[int] = []
    if isinstance(kind, pa.FixedShapeTensorType):
        shape = list(kind.shape)
    inner = kind
    while pa.types.is_fixed_size_list(inner):
        shape.append(inner.list_size)
        inner = inner.value_type
    element = _element(kind)
    small = pa.types.is_uint8(element) or pa.types.is_boolean(element)
    return shape, "uint8" if small else "float32"


def without_missing(values: pa.Array) -> pa.Array:
    """Strings with null for those that spell a missing value."""
    missing = pc.is_in(values, pa.array(MISSING))
    return pc.if_else(missing, pa.scalar(None, pa.string()), values)


def numeric(values: pa.Array, place: Place) -> pa.Array:
    """Finite float64, null where missing; truth values are 1 and 0.

    Raises:
        SourceError: A value is no number, or infinite.
    """
    how = storage(values.type)
    if how == "nothing":
        return pa.nulls(len(values), pa.float64())
    if how not in ("number", "string"):
        raise place.whole(f"holds {article(how)}, but its kind is a number")
    parsed = _parsed(values, place) if how == "string" else widened(values)
    parsed = pc.if_else(pc.is_nan(parsed), pa.scalar(None, pa.float64()), parsed)
    infinite = np.flatnonzero(np.isinf(np.asarray(parsed.fill_null(0.0))))
    if len(infinite):
        raise place.error(
            int(infinite[0]),
            f"{values[int(infinite[0])].as_py()!r} is infinite; a division by zero or an "
            f"overflow before the data was written, leave such values empty",
        )
    return parsed


def text(values: pa.Array, place: Place, *, as_written: bool = False) -> pa.Array:
    """Canonical texts (:func:`shoal.sources.canonical.canonical`), null where missing.

    Args:
        values: Strings, numbers, truth values or times.
        place: Where they lie.
        as_written: Whether strings stay to the letter, as free text does.

    Raises:
        SourceError: The column holds images or nested values.
    """
    how = storage(values.type)
    if how == "nothing":
        return pa.nulls(len(values), pa.string())
    if how in ("image", "other"):
        raise place.whole(f"holds {article(how)}, but its kind is a text or a category")
    if how == "string":
        values = without_missing(values)
    return values if how == "string" and as_written else canonical(values)


def image(values: pa.Array, place: Place, shape: list[int], kind: str) -> NDArray[Any]:
    """Images ``(rows, *shape)`` of uint8 or float32, all finite.

    Raises:
        SourceError: The column holds no images, images of another shape or type, or a row
            lacks one.
    """
    if storage(values.type) != "image":
        raise place.whole(f"holds {article(storage(values.type))}, but its kind is image")
    stored_shape, _ = image_layout(values.type)
    if stored_shape != shape:
        raise place.whole(f"holds images of shape {stored_shape}, not {shape}")
    pixels = as_image(_elements(values, place).reshape(len(values), *shape))
    flat = pixels.reshape(len(pixels), -1)
    if pixels.dtype == np.float32:
        _first(place, ~np.isfinite(flat).all(axis=1), "the image holds a missing or infinite value")
        if kind == "uint8":
            whole = (flat == np.rint(flat)) & (flat >= 0) & (flat <= 255)
            _first(place, ~whole.all(axis=1), "the image holds a value that is not a byte (uint8)")
    return pixels.astype(kind)


def _elements(values: pa.Array, place: Place) -> NDArray[Any]:
    """All elements of all images, in order."""
    inner = values
    while isinstance(inner, pa.ExtensionArray) or pa.types.is_fixed_size_list(inner.type):
        if inner.null_count:
            index = pc.index(inner.is_null(), True).as_py() * len(values) // len(inner)
            raise place.error(index, "the image is missing")
        inner = inner.storage if isinstance(inner, pa.ExtensionArray) else inner.flatten()
    if inner.null_count:
        index = pc.index(inner.is_null(), True).as_py() * len(values) // len(inner)
        raise place.error(index, "the image holds a missing value")
    return np.asarray(inner.to_numpy(zero_copy_only=False))


def _first(place: Place, wrong: NDArray[np.bool_], problem: str) -> None:
    if wrong.any():
        raise place.error(int(np.argmax(wrong)), problem)


def _parsed(values: pa.Array, place: Place) -> pa.Array:
    """Numbers that strings spell."""
    strings = without_missing(pc.utf8_trim_whitespace(values))
    bad = np.flatnonzero(bad_numbers(strings))
    if len(bad):
        raise place.error(
            int(bad[0]),
            f"{values[int(bad[0])].as_py()!r} is not a number, but the column's kind is",
            "declare it categorical or clean it",
        )
    strings = pc.if_else(pc.is_in(strings, pa.array(TRUE)), "1", strings)
    strings = pc.if_else(pc.is_in(strings, pa.array(FALSE)), "0", strings)
    return strings.cast(pa.float64())


def bad_numbers(strings: pa.Array) -> NDArray[np.bool_]:
    """Which strings are neither missing nor a number nor a truth value."""
    number = pc.match_substring_regex(pc.utf8_trim_whitespace(strings), NUMBER)
    fits = pc.or_(number, pc.is_in(strings, pa.array(TRUE + FALSE)))
    return ~np.asarray(fits.fill_null(True))


def is_number(strings: pa.Array) -> bool:
    """Whether all strings that are not missing spell numbers or truth values."""
    return not bad_numbers(strings).any()


def _element(kind: pa.DataType) -> pa.DataType | None:
    """Number type inside an image column, None if the column is none."""
    if isinstance(kind, pa.FixedShapeTensorType):
        kind = kind.value_type
    elif not pa.types.is_fixed_size_list(kind):
        return None
    while pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    tests: list[Callable[[pa.DataType], bool]] = [
        pa.types.is_boolean,
        pa.types.is_integer,
        pa.types.is_floating,
    ]
    return kind if any(test(kind) for test in tests) else None


def article(how: str) -> str:
    """What a column of this :func:`storage` holds, in words."""
    return {"other": "nested or binary values", "string": "text"}.get(how, f"{how}s")
