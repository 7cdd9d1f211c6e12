"""Forms in which activations are kept: what each leaves of them, as bytes and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import DataError, SettingsError, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.floating[Any]]

FULL = "full"
FORMS = {
    FULL: "every bit",
    "float16": "half precision; what is beyond its range becomes the largest number of it",
    "quantile8": "the mean of one of 256 bins, each of which holds as many of a block's values",
    "pooled": "means over positions, channels first; of a vector, means of 4 neighbours",
    "pooled-last": "means over positions, features last; of a vector, means of 4 neighbours",
}
"""Name of each form, and what it keeps."""

_NEIGHBOURS = 4
_LEVELS = 256
_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True, order=True)
class Kind:
    """What a layer gives for one row.

    Attributes:
        shape: Without rows.
        dtype: ``float32`` or ``float64``.
    """

    shape: tuple[int, ...]
    dtype: str

    def in_form(self, form: str) -> Kind:
        """What is left for one row after a form was taken."""
        if not form.startswith("pooled") or not self.shape:
            return self
        if len(self.shape) == 1:
            return Kind((math.ceil(self.shape[0] / _NEIGHBOURS),), self.dtype)
        return Kind((self.shape[0 if form == "pooled" else -1],), self.dtype)


def check_form(form: str) -> None:
    """Refuse a form that is none.

    Raises:
        SettingsError: There is no such form.
    """
    if form not in FORMS:
        raise SettingsError(f"form {form!r}: unknown; {nearest(form, FORMS)}")


def pooled(form: str, values: Values) -> Values:
    """Means that a pooling form takes; the values themselves for other forms.

    Args:
        form: The form.
        values: ``(rows, …)``.
    """
    if not form.startswith("pooled") or values.ndim == 1:
        return values
    if values.ndim == 2:
        starts = np.arange(0, max(1, values.shape[1]), _NEIGHBOURS)
        sums = np.add.reduceat(values.astype(np.float64), starts, axis=1)
        means = sums / np.diff([*starts, values.shape[1]])
    elif form == "pooled":
        means = values.reshape(len(values), values.shape[1], -1).mean(axis=2, dtype=np.float64)
    else:
        means = values.reshape(len(values), -1, values.shape[-1]).mean(axis=1, dtype=np.float64)
    return means.astype(values.dtype)


def packed(form: str, values: Values) -> bytes:
    """What a form keeps of a block's values, as bytes; the same values give the same bytes.

    Args:
        form: The form.
        values: float32 or float64 ``(rows, …)``.

    Raises:
        DataError: A value is not finite and the form has no place for it.
    """
    if form == "float16":
        limited = np.where(np.isfinite(values), np.clip(values, -_LARGEST, _LARGEST), values)
        return limited.astype("<f2").tobytes()
    if form == "quantile8":
        return _quantiles(values)
    return np.ascontiguousarray(pooled(form, values), values.dtype.newbyteorder("<")).tobytes()


def unpacked(form: str, content: bytes, rows: int, kind: Kind) -> Values:
    """A block's values from what :func:`packed` kept.

    Args:
        form: The form.
        content: Its bytes.
        rows: Rows of the block.
        kind: What the layer gives for a row, before a form was taken.

    Returns:
        ``(rows, …)`` in the layer's own type.
    """
    shape = (rows, *kind.in_form(form).shape)
    if form == "float16":
        return np.frombuffer(content, "<f2").reshape(shape).astype(kind.dtype)
    if form == "quantile8":
        levels = np.frombuffer(content[: _LEVELS * 4], "<f4")
        codes = np.frombuffer(content[_LEVELS * 4 :], np.uint8)
        return levels[codes].reshape(shape).astype(kind.dtype)
    return np.frombuffer(content, np.dtype(kind.dtype).newbyteorder("<")).reshape(shape)


def size(form: str, rows: int, kind: Kind) -> int:
    """Bytes that :func:`packed` gives."""
    values = rows * math.prod(kind.in_form(form).shape)
    if form == "quantile8":
        return _LEVELS * 4 + values
    return values * (2 if form == "float16" else np.dtype(kind.dtype).itemsize)


def as_kept(form: str, values: Values) -> Values:
    """A block's values as they come back after they were kept in a form."""
    kind = Kind(values.shape[1:], str(values.dtype))
    return unpacked(form, packed(form, values), len(values), kind)


def frame(form: str, values: Values) -> bytes:
    """A block's values in a form, compressed without loss: what is stored."""
    from numcodecs import Shuffle, zstd

    content = packed(form, values)
    return bytes(zstd.compress(Shuffle(_width(form, values.dtype)).encode(content), 1))


def unframed(form: str, content: bytes, rows: int, kind: Kind) -> Values:
    """A block's values from what :func:`frame` stored.

    Raises:
        ValueError: These are no such bytes. No more memory is taken than ``rows`` need.
    """
    from numcodecs import Shuffle, zstd

    whole = np.empty(size(form, rows, kind), np.uint8)
    try:
        zstd.decompress(content, whole)
    except RuntimeError as error:
        raise ValueError(str(error)) from None
    content = Shuffle(_width(form, np.dtype(kind.dtype))).decode(whole)
    return unpacked(form, bytes(content), rows, kind)


def _width(form: str, dtype: np.dtype[Any]) -> int:
    """Bytes a value; first bytes lie together, then second ones, which zstd likes better."""
    return {"float16": 2, "quantile8": 1}.get(form, dtype.itemsize)


def _quantiles(values: Values) -> bytes:
    """Means of 256 bins between quantiles, then the bin of each value.

    Source:
        Vartak et al. 2018, MISTIQUE, 8BIT_QUANT.
    """
    flat = values.astype(np.float64).ravel()
    if not np.isfinite(flat).all():
        raise DataError("a value is not finite, for which form 'quantile8' has no bin; choose full")
    levels = np.unique(flat)
    if len(levels) <= _LEVELS:
        codes = np.searchsorted(levels, flat)
    else:
        ordered = np.sort(flat)
        edges = np.unique(ordered[np.arange(1, _LEVELS) * len(ordered) // _LEVELS])
        codes = np.searchsorted(edges, flat)
        counts = np.maximum(np.bincount(codes), 1)
        levels = np.bincount(codes, weights=flat) / counts
    table = np.zeros(_LEVELS, "<f4")
    table[: len(levels)] = levels
    return table.tobytes() + codes.astype(np.uint8).tobytes()
