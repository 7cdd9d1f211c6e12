"""Layers of models, and the forms in which their activations are kept as bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from typing_extensions import TypedDict

from shoal.errors import DataError, ModelError, SettingsError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

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
"""Name of each form, and its meaning."""

_NEIGHBOURS = 4
_LEVELS = 256
_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True, order=True)
class Kind:
    """Shape and type of a layer's output for one row.

    Attributes:
        shape: Without rows.
        dtype: ``float32`` or ``float64``.
    """

    shape: tuple[int, ...]
    dtype: str

    def in_form(self, form: str) -> Kind:
        """The same after a form was taken."""
        if not form.startswith("pooled") or not self.shape:
            return self
        if len(self.shape) == 1:
            return Kind((math.ceil(self.shape[0] / _NEIGHBOURS),), self.dtype)
        return Kind((self.shape[0 if form == "pooled" else -1],), self.dtype)


class LayerRecord(TypedDict):
    """A :class:`Layer` as JSON."""

    shape: list[int] | None
    dtype: str | None
    reason: str
    tensors: list[str]
    flops: float
    sizes: dict[str, float]


@dataclass
class Layer:
    """One of a model's modules.

    Attributes:
        kind: Its output for one row; None where it cannot be kept.
        reason: Why it cannot.
        tensors: Names of the model's tensors that were read before its output was there.
        flops: Floating-point operations for one row up to there.
        sizes: Bytes per row in each form that was tried.
    """

    kind: Kind | None = None
    reason: str = "is not called when rows go through the model"
    tensors: frozenset[str] = frozenset()
    flops: float = 0
    sizes: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> LayerRecord:
        """As JSON, from which :meth:`from_json` makes it again."""
        return {
            "shape": None if self.kind is None else list(self.kind.shape),
            "dtype": None if self.kind is None else self.kind.dtype,
            "reason": self.reason,
            "tensors": sorted(self.tensors),
            "flops": self.flops,
            "sizes": self.sizes,
        }

    @classmethod
    def from_json(cls, content: LayerRecord) -> Self:
        """From the result of :meth:`as_json`."""
        shape, dtype = content["shape"], content["dtype"]
        kind = Kind(tuple(shape), dtype) if shape is not None and dtype is not None else None
        tensors = frozenset(content["tensors"])
        return cls(kind, content["reason"], tensors, content["flops"], dict(content["sizes"]))


def wanted_layer(layers: Mapping[str, Layer], name: str, model: str) -> tuple[Layer, Kind]:
    """A layer that can be kept, and the kind of its output.

    Raises:
        ModelError: The model has no such layer, or what it gives cannot be kept.
    """
    if name not in layers:
        raise ModelError(f"model {model}: no layer {name!r}; {nearest(name, layers)}")
    layer = layers[name]
    if layer.kind is None:
        raise ModelError(f"model {model}: layer {name!r} {layer.reason}")
    return layer, layer.kind


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
    """A block's values in a form, as bytes; the same values give the same bytes.

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
    """A block's values from the bytes of :func:`packed`.

    Args:
        form: The form.
        content: Its bytes.
        rows: Rows of the block.
        kind: Kind of the layer's output, before a form was taken.

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
    """A block's values in a form, compressed without loss."""
    from numcodecs import Shuffle, zstd

    content = packed(form, values)
    return bytes(zstd.compress(Shuffle(_width(form, values.dtype)).encode(content), 1))


def unframed(form: str, content: bytes, rows: int, kind: Kind) -> Values:
    """A block's values from the bytes of :func:`frame`.

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
    """Bytes per value; first bytes lie together, then second ones, which zstd likes better."""
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
