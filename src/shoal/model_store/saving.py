"""What is new of many models into a pack: each model's tensors of one type as one frame."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.model_store.choices import NONE, Reference, chosen, nothing
from shoal.model_store.encoding import Batch, encoded_batch
from shoal.model_store.index_format import FRAME, TENSOR, Entry
from shoal.model_store.pack import add_pack
from shoal.model_store.reading import side_by_side
from shoal.model_store.residuals import median
from shoal.model_store.tensors import DTYPES, hashes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from shoal.model_store.backends import Backend
    from shoal.model_store.encoding import Encoded
    from shoal.model_store.given import Given, Part
    from shoal.model_store.index_format import Contents, Layout, Rows
    from shoal.model_store.reading import Reader
    from shoal.model_store.tensors import Kind

    Words = NDArray[Any]

_MEDIAN_OF = 64  # models from which one more is worth its bytes
_MEDIAN_SAMPLE = 128
_MEDIAN_WORDS = 1 << 26


@dataclass
class _Group:
    """Models of which the same tensors are new.

    Attributes:
        part: Where the tensors are.
        slots: Which of the part's tensors.
        batch: What is to be stored of them.
        rows: Models' places in the part.
        models: Their ids.
    """

    part: Part
    slots: tuple[int, ...]
    batch: Batch
    rows: list[int] = field(default_factory=list)
    models: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, part: Part, slots: list[int]) -> _Group:
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
        records: Mapping[str, dict[str, Any]],
    ) -> None:
        """Write a pack with what is new of some models.

        Args:
            models: The models by id; none of them is in the contents.
            references: For each, models in the contents to compare it with; the best first.
            records: What is kept of each beside its tensors.
        """
        self._addresses, self._firsts = [], []
        encoded = []
        for group in self._groups(models):
            encoded += self._encode(group, references)
        if encoded:
            self._write(encoded)
        for model, given in models.items():
            numbers = tuple(self._numbers[address] for address in given.addresses)
            layout = self._layout(given.layout)
            self._contents.entries[model] = Entry(model, layout, numbers, records.get(model, {}))

    def _layout(self, layout: Layout) -> int:
        if layout not in self._contents.layouts:
            self._contents.layouts.append(layout)
        return self._contents.layouts.index(layout)

    def _groups(self, models: Mapping[str, Given]) -> list[_Group]:
        """What is not stored yet; numbers run on from model to model."""
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
                    self._add_frame(group.batch, first)
        return list(found.values())

    def _add_frame(self, batch: Batch, first: int) -> None:
        batch.firsts.append(first)
        batch.frames.append(len(self._contents.frames) + len(self._firsts))
        self._firsts.append(first)

    def _encode(self, group: _Group, references: Mapping[str, Sequence[str]]) -> list[Encoded]:
        """All frames of a group, and of the median that they are compared with."""
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
        """A model between many: what they have in common beyond their base."""
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
