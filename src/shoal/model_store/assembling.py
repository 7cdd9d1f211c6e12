"""Tensors that were read, as the models that asked for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.errors import ModelError
from shoal.model_store.tensors import as_arrays, as_tensors, numpy_has

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shoal.model_store.index import Index
    from shoal.model_store.index_format import Entry
    from shoal.model_store.reading import Reader


def assembled(
    index: Index, entries: list[Entry], reader: Reader, framework: str
) -> dict[str, dict[str, Any]]:
    """Models' tensors; none shares memory with another that is handed out."""
    if framework == "numpy":
        _refuse_what_numpy_lacks(index, entries)
    convert = as_tensors if framework == "torch" else as_arrays
    values: dict[int, Any] = {}
    wanted = {number for entry in entries for number in entry.rows}
    for kind, numbers, raw in reader.groups:
        if not wanted.isdisjoint(numbers):
            values.update(zip(numbers, convert(kind, raw), strict=True))
    handed: set[int] = set()
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        tensors = found[entry.model] = {}
        for (name, _), number in zip(index.layouts[entry.layout], entry.rows, strict=True):
            value = values[number]
            if number in handed:
                value = value.clone() if framework == "torch" else value.copy()
            handed.add(number)
            tensors[name] = value
    return found


def _refuse_what_numpy_lacks(index: Index, entries: Sequence[Entry]) -> None:
    for entry in entries:
        for name, kind in index.layouts[entry.layout]:
            if not numpy_has(kind):
                raise ModelError(
                    f"model {entry.model!r}, tensor {name!r} is of type {kind.dtype}, which numpy "
                    f"lacks; load it for torch"
                )
