"""Writes tensors that the store lacks to a pack, one frame per model and dtype."""

from __future__ import annotations

import bisect
import operator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import ModelError
from shoal.model_store.codecs import NONE, Reference, chosen, median, nothing
from shoal.model_store.frames import BLOCK_BYTES
from shoal.model_store.index_format import FRAME, TENSOR, ModelEntry
from shoal.model_store.packs import Batch, add_pack, encoded_batch
from shoal.model_store.reading import side_by_side
from shoal.model_store.tensors import DTYPES, hashes, stacked

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from shoal.model_store.backends import Backend
    from shoal.model_store.index_format import Contents, Layout, Rows
    from shoal.model_store.packs import Encoded
    from shoal.model_store.reading import Reader
    from shoal.model_store.tensors import JsonObject, Kind

    Words = NDArray[Any]

_ABOUT = operator.attrgetter("dtype", "shape", "device")
_PART_BYTES = 1 << 24  # of a model's tensors that make one frame


@dataclass(eq=False)
class TensorBlock:
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
    parts: list[TensorBlock]
    row: int


def given_models(models: Mapping[str, Mapping[str, object]]) -> dict[str, Given]:
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


def _signature(tensors: Mapping[str, object]) -> tuple[Any, ...]:
    """Equal for models whose tensors can be stacked."""
    values = tensors.values()
    try:
        return (*tensors, *map(type, values), *map(_ABOUT, values))
    except AttributeError:  # one is no tensor
        return (*tensors, *map(type, values))


def _given(models: Mapping[str, Mapping[str, object]], group: list[str]) -> dict[str, Given]:
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


def _parts(layout: Layout, models: int) -> list[TensorBlock]:
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
        TensorBlock(
            places,
            [layout[place][0] for place in places],
            [layout[place][1] for place in places],
            np.empty((models, size), np.uint8),
        )
        for places, size in parts
    ]


_PACK_BYTES = 1 << 30  # of models that are encoded at once


def references_of(
    new: Iterable[str], base: str | None, parents: Mapping[str, str], stored: Collection[str]
) -> dict[str, list[str]]:
    """For each model those that it is compared with, parent before base.

    Raises:
        ModelError: One of those is neither new nor stored.
    """
    models = dict.fromkeys(new)
    found = {}
    for model in models:
        named = [other for other in (parents.get(model), base) if other not in (None, model)]
        found[model] = [str(other) for other in dict.fromkeys(named)]
        for other in found[model]:
            if other not in models and other not in stored:
                raise ModelError(
                    f"model {model!r} names {other!r} as base or parent; no such model"
                )
    return found


def in_order(
    sizes: Mapping[str, int], references: Mapping[str, Sequence[str]]
) -> Iterable[list[str]]:
    """Models in parts, each after those that it refers to, and none beyond a pack's size.

    Args:
        sizes: Bytes of each model.
        references: For each, models that must be there before, if they are among these.

    Raises:
        ModelError: Some refer to each other.
    """
    left = dict(sizes)
    while left:
        ready = [m for m in left if not any(other in left for other in references.get(m, ()))]
        if not ready:
            raise ModelError(f"models {sorted(left)[:3]} are each other's parents")
        part: list[str] = []
        size = 0
        for model in ready:
            part.append(model)
            size += left.pop(model)
            if size >= _PACK_BYTES:
                yield part
                part, size = [], 0
        if part:
            yield part


_MEDIAN_OF = 64  # models from which one more is worth its bytes
_MEDIAN_SAMPLE = 128
_MEDIAN_WORDS = 1 << 26


@dataclass
class _Group:
    """Models of which the same tensors are new.

    Attributes:
        part: Where the tensors are.
        slots: Which of the part's tensors.
        batch: Their tensors that are to be stored.
        rows: Models' places in the part.
        models: Their ids.
    """

    part: TensorBlock
    slots: tuple[int, ...]
    batch: Batch
    rows: list[int] = field(default_factory=list)
    models: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, part: TensorBlock, slots: list[int]) -> _Group:
        """A group without models."""
        names = tuple(part.names[slot] for slot in slots)
        batch = Batch(names, tuple(part.kinds[slot] for slot in slots))
        return cls(part, tuple(slots), batch)

    def words(self) -> Words:
        """The new words, ``(models, words)``."""
        found = self.part.words
        if len(self.slots) < len(self.part.kinds):
            spans = [self.part.span(slot) for slot in self.slots]
            found = np.concatenate([found[:, span] for span in spans], axis=1)
        first, last = self.rows[0], self.rows[-1]
        if last - first + 1 == len(self.rows):  # they ascend
            return found[first : last + 1]
        return found[self.rows]


class Writer:
    """Adds models to the contents of a store; the packs it writes count once the index does."""

    def __init__(self, backend: Backend, contents: Contents, reader: Reader | None) -> None:
        self._backend = backend
        self._contents = contents
        self._reader = reader
        self._stored = len(contents.tensors)
        self._added: list[tuple[Batch, Words]] = []
        addresses = contents.tensors["address"].tobytes()
        size = TENSOR["address"].itemsize
        self._numbers = {
            addresses[size * number : size * (number + 1)]: number
            for number in reversed(range(self._stored))
        }
        self._addresses: list[bytes] = []
        self._firsts: list[int] = []

    def add(
        self,
        models: Mapping[str, Given],
        references: Mapping[str, Sequence[str]],
        records: Mapping[str, JsonObject],
    ) -> None:
        """Write a pack with the tensors of some models that the store lacks.

        Args:
            models: The models by id; none of them is in the contents.
            references: For each, models in the contents to compare it with; the best first.
            records: A JSON object to keep with each.
        """
        self._addresses, self._firsts = [], []
        encoded = []
        for group in self._groups(models):
            encoded += self._encode(group, references)
        if encoded:
            self._write(encoded)
        layouts = self._contents.layouts
        for model, given in models.items():
            numbers = tuple(self._numbers[address] for address in given.addresses)
            if given.layout not in layouts:
                layouts.append(given.layout)
            entry = ModelEntry(model, layouts.index(given.layout), numbers, records.get(model, {}))
            self._contents.entries[model] = entry

    def _groups(self, models: Mapping[str, Given]) -> list[_Group]:
        """Group models by the tensors that the store lacks, and number these tensors."""
        found: dict[tuple[int, tuple[int, ...]], _Group] = {}
        numbers, known = self._numbers, len(self._contents.tensors)
        for model, given in models.items():
            for part in given.parts:
                first = known + len(self._addresses)
                slots = []
                for slot, place in enumerate(part.places):
                    address, number = given.addresses[place], known + len(self._addresses)
                    if numbers.setdefault(address, number) == number:
                        self._addresses.append(address)
                        slots.append(slot)
                if slots:
                    key = id(part), tuple(slots)
                    if key not in found:
                        found[key] = _Group.of(part, slots)
                    group = found[key]
                    group.rows.append(given.row)
                    group.models.append(model)
                    group.batch.firsts.append(first)
                    group.batch.frames.append(len(self._contents.frames) + len(self._firsts))
                    self._firsts.append(first)
        return list(found.values())

    def _encode(self, group: _Group, references: Mapping[str, Sequence[str]]) -> list[Encoded]:
        """Frames of a group, and of the median that they are compared with."""
        words, batch = group.words(), group.batch
        self._added.append((batch, words))
        is_float = DTYPES[batch.kinds[0].dtype].fraction is not None
        compared = [nothing(len(words), words.shape[1], len(batch.kinds), words.dtype)]
        compared += self._references(group, references)
        middle = self._median(words) if is_float else None
        if middle is None:
            return encoded_batch(batch, words, chosen(is_float, words, compared))
        first = len(self._contents.tensors) + len(self._addresses)
        ones = [Reference(r.words[:1], r.numbers[:1], r.depths[:1]) for r in compared]
        one = Batch(batch.names, batch.kinds, [0], [first])
        lone = encoded_batch(one, middle, chosen(is_float, middle, ones))
        numbers = np.arange(first, first + len(batch.kinds))[None]
        compared.append(Reference(middle, numbers, np.repeat(lone[0].depths, len(words))))
        choice = chosen(is_float, words, compared)
        found = encoded_batch(batch, words, choice)
        if any(reference is compared[-1] for _, reference, _ in choice):
            found += self._with_median(one, middle, lone)
        return found

    def _median(self, words: Words) -> Words | None:
        """A model in the middle of many, which holds what they share beyond their base."""
        if len(words) < _MEDIAN_OF or not words.shape[1]:
            return None
        most = max(_MEDIAN_OF, min(_MEDIAN_SAMPLE, _MEDIAN_WORDS // words.shape[1]))
        return median(words[:: -(-len(words) // most)])[None]

    def _references(
        self, group: _Group, references: Mapping[str, Sequence[str]]
    ) -> list[Reference]:
        """The same tensors of the models that each is compared with; first all firsts."""
        found = []
        most = max((len(references.get(model, ())) for model in group.models), default=0)
        for place in range(most):
            named = [references.get(model, ())[place:] for model in group.models]
            others = [models[0] if models else None for models in named]
            known = {other: self._numbers_of(other, group.batch) for other in set(others)}
            numbers = np.array([known[other] for other in others])
            if (numbers != NONE).any():
                found.append(self._reference(group.batch.kinds, numbers))
        return found

    def _numbers_of(self, model: str | None, batch: Batch) -> list[int]:
        """Where a model's own tensors of those names and kinds lie, or ``NONE``."""
        if model is None:
            return [NONE] * len(batch.kinds)
        entry = self._contents.entries[model]
        layout = self._contents.layouts[entry.layout]
        places = dict(zip(layout, entry.rows, strict=True))
        return [places.get(pair, NONE) for pair in zip(batch.names, batch.kinds, strict=True)]

    def _reference(self, kinds: tuple[Kind, ...], numbers: NDArray[np.int64]) -> Reference:
        there = numbers != NONE
        distinct = np.unique(numbers[there]).tolist()
        stored = [number for number in distinct if number < self._stored]
        found = dict(self._reader.read(stored)) if self._reader is not None and stored else {}
        found |= {number: self._fresh(number) for number in distinct if number >= self._stored}
        frames = self._contents.frames
        at = np.searchsorted(frames["first"], np.where(there, numbers, 0), side="right") - 1
        depths = np.where(there, frames["depth"][at], -1).astype(np.int64).max(axis=1)
        if (numbers == numbers[0]).all():
            numbers = numbers[:1]
        return Reference(side_by_side(kinds, numbers, found), numbers, depths)

    def _fresh(self, number: int) -> NDArray[np.uint8]:
        """Bytes of a tensor that was added by this writer."""
        for batch, words in self._added:
            row = bisect.bisect_right(batch.firsts, number) - 1
            slot = number - batch.firsts[row]
            if row >= 0 and slot < len(batch.kinds):
                start = sum(kind.words for kind in batch.kinds[:slot])
                found: NDArray[np.uint8] = words[row, start : start + batch.kinds[slot].words]
                return found.view(np.uint8)
        raise AssertionError("a tensor is numbered when it is added")

    def _with_median(self, one: Batch, words: Words, lone: list[Encoded]) -> list[Encoded]:
        """The frame of a median, which was encoded before it was known whether it is needed."""
        start = 0
        for kind in one.kinds:
            # It may equal a tensor of the models, which refer to it: it has its own number.
            raw = words[:, start : start + kind.words].view(np.uint8)
            self._addresses += hashes(kind, raw)
            start += kind.words
        frame = len(self._contents.frames) + len(self._firsts)
        self._firsts += one.firsts
        return [replace(each, frames=np.array([frame])) for each in lone]

    def _write(self, encoded: list[Encoded]) -> None:
        """Write the pack, and a row for each of its frames and tensors."""
        contents = self._contents
        tensors: Rows = np.zeros(len(self._addresses), TENSOR)
        joined = b"".join(self._addresses)
        tensors["address"] = np.frombuffer(joined, np.uint8).reshape(len(tensors), -1)
        tensors["reference"] = NONE
        pieces = [each.piece for each in encoded]
        written = add_pack(self._backend, contents, pieces, joined)
        frames: Rows = np.zeros(len(self._firsts), FRAME)
        frames["first"], frames["pack"] = self._firsts, len(contents.packs) - 1
        for number, (each, offsets) in enumerate(zip(encoded, written, strict=True)):
            at = each.frames - len(contents.frames)
            frames["offset"][at], frames["size"][at] = offsets, each.piece.sizes
            frames["form"][at], frames["depth"][at] = number, each.depths
            slots = np.arange(each.references.shape[1])
            places = each.firsts[:, None] - len(contents.tensors) + slots
            tensors["reference"][places] = each.references
        contents.frames = np.concatenate([contents.frames, frames])
        contents.tensors = np.concatenate([contents.tensors, tensors])
