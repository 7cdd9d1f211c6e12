"""Models as they were given: the bytes and addresses of many of one layout, side by side."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import ModelError
from shoal.model_store.frames import BLOCK_BYTES
from shoal.model_store.tensors import hashes, stacked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from shoal.model_store.index_format import Layout
    from shoal.model_store.tensors import Kind

_ABOUT = operator.attrgetter("dtype", "shape", "device")
_PART_BYTES = 1 << 24  # of a model's tensors that make one frame


@dataclass(eq=False)
class Part:
    """Some tensors of one type, of many models.

    Attributes:
        places: Which tensors of the models' layout.
        names: Their names.
        kinds: Their kinds.
        raw: uint8 ``(models, bytes)``.
    """

    places: list[int]
    names: list[str]
    kinds: list[Kind]
    raw: NDArray[np.uint8]

    @property
    def words(self) -> NDArray[Any]:
        """The tensors' words, ``(models, words)``."""
        return self.raw.view(self.kinds[0].word_type)

    def span(self, slot: int) -> slice:
        """Where the words of a tensor lie among those of its model."""
        start = sum(kind.words for kind in self.kinds[:slot])
        return slice(start, start + self.kinds[slot].words)


@dataclass(frozen=True)
class Given:
    """A model to be stored.

    Attributes:
        layout: Names and kinds of its tensors.
        addresses: Content address of each.
        parts: Its tensors' bytes, with those of others.
        row: Its place in the parts.
    """

    layout: Layout
    addresses: list[bytes]
    parts: list[Part]
    row: int


def given_models(models: Mapping[str, Mapping[str, Any]]) -> dict[str, Given]:
    """Bytes and content addresses of models.

    Args:
        models: Id of each to its tensors by name.

    Raises:
        ModelError: A name is no text, or a tensor cannot be stored.
    """
    alike: dict[tuple[Any, ...], list[str]] = {}
    for model, tensors in models.items():
        if not (isinstance(model, str) and model and all(isinstance(n, str) for n in tensors)):
            raise ModelError(f"model {model!r}: ids and names of tensors are text")
        alike.setdefault(_signature(tensors), []).append(model)
    found: dict[str, Given] = {}
    for group in alike.values():
        found.update(_given(models, group))
    return {model: found[model] for model in models}


def _signature(tensors: Mapping[str, Any]) -> tuple[Any, ...]:
    """Equal for models whose tensors can be stacked."""
    values = tensors.values()
    try:
        return (*tensors, *map(type, values), *map(_ABOUT, values))
    except AttributeError:  # one is no tensor
        return (*tensors, *map(type, values))


def _given(models: Mapping[str, Mapping[str, Any]], group: list[str]) -> dict[str, Given]:
    """Models whose tensors have the same names and kinds."""
    first = models[group[0]]
    layout = tuple((name, stacked([first[name]], _place(group[0], name))[0]) for name in first)
    parts = _parts(layout, len(group))
    addresses: list[list[bytes]] = []
    size = sum(kind.bytes for _, kind in layout)
    step = max(1, BLOCK_BYTES // max(1, size))
    for start in range(0, len(group), step):
        block = [models[model] for model in group[start : start + step]]
        columns: list[list[bytes]] = [[]] * len(layout)
        for part in parts:
            at = 0
            for place, name, kind in zip(part.places, part.names, part.kinds, strict=True):
                values = [model[name] for model in block]
                rows = part.raw[start : start + step, at : at + kind.bytes]
                rows[...] = stacked(values, _place(group[start], name))[1]
                columns[place] = hashes(kind, rows)
                at += kind.bytes
        addresses += map(list, zip(*columns, strict=True)) if layout else [[]] * len(block)
    return {model: Given(layout, addresses[row], parts, row) for row, model in enumerate(group)}


def _place(model: str, name: str) -> str:
    return f"model {model!r}, tensor {name!r}"


def _parts(layout: Layout, models: int) -> list[Part]:
    """Empty parts for models of a layout: one type in each, and no more than makes a frame."""
    parts: list[tuple[list[int], int]] = []
    current: dict[str, int] = {}
    for place, (_, kind) in enumerate(layout):
        number = current.get(kind.dtype)
        if number is None or parts[number][1] + kind.bytes > _PART_BYTES:
            number = current[kind.dtype] = len(parts)
            parts.append(([], 0))
        places, size = parts[number]
        parts[number] = [*places, place], size + kind.bytes
    return [
        Part(
            places,
            [layout[place][0] for place in places],
            [layout[place][1] for place in places],
            np.empty((models, size), np.uint8),
        )
        for places, size in parts
    ]
