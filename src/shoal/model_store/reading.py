"""Tensors out of packs: read, decoded, and checked against their content address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import CorruptError, ModelError
from shoal.model_store.codecs import NONE, RAW, restored
from shoal.model_store.frames import (
    BLOCK_BYTES,
    LARGEST_RATIO,
    FrameError,
    Split,
    decoded,
    decompressed,
    split_by_tensor,
)
from shoal.model_store.index import read_part
from shoal.model_store.tensors import HASH_BYTES, as_arrays, as_tensors, hashes, numpy_has

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from shoal.model_store.backends import Backend
    from shoal.model_store.index import Numbers, StoreIndex
    from shoal.model_store.index_format import Form, ModelEntry, Rows
    from shoal.model_store.tensors import Kind, Tensors

    Bytes = NDArray[np.uint8]

_GAP = 1 << 12  # bytes between two frames that are read along rather than skipped
_READ = 1 << 26  # bytes read at a time


def side_by_side(
    kinds: tuple[Kind, ...], numbers: NDArray[Any], found: Mapping[int, Bytes]
) -> NDArray[Any]:
    """Words of tensors of one type, ``(rows, words)``; zeros for ``NONE``.

    Args:
        kinds: Of the tensors in a row.
        numbers: Which tensors, ``(rows, tensors)``.
        found: Bytes by number.
    """
    zeros = [np.zeros(kind.bytes, np.uint8) for kind in kinds]
    parts = [
        zeros[slot] if number == NONE else found[number]
        for row in numbers.tolist()
        for slot, number in enumerate(row)
    ]
    return np.concatenate(parts).view(kinds[0].word_type).reshape(len(numbers), -1)


class Reader:
    """Reads tensors of one state of a store.

    Attributes:
        found: Number of a tensor to its bytes, of all that were read so far.
        groups: The same, many of a kind together: kind, numbers, bytes ``(tensors, bytes)``.
    """

    def __init__(self, backend: Backend, index: StoreIndex) -> None:
        self._backend = backend
        self._index = index
        self._splits: dict[int, Split] = {}
        ids: dict[Kind, int] = {}
        self._kinds = np.array(
            [ids.setdefault(kind, len(ids)) for form in index.forms for kind in form.kinds]
        )
        self._first_kinds = np.cumsum([0] + [len(form.kinds) for form in index.forms])
        self.found: dict[int, Bytes] = {}
        self.groups: list[tuple[Kind, list[int], Bytes]] = []

    def read(self, numbers: Iterable[int]) -> dict[int, Bytes]:
        """Bytes of tensors, and of all that they refer to, by number.

        Raises:
            CorruptError: A tensor is not what its content address says.
            MissingFileError: A pack is missing.
        """
        rows = self._closure(np.unique(np.fromiter(numbers, np.int64)))
        self._check_apart(rows)
        forms = self._index.form_numbers(rows)
        order = np.lexsort((rows["offset"], forms, rows["depth"]))
        keys = np.stack([rows["depth"], forms])[:, order]
        breaks = np.flatnonzero((keys[:, 1:] != keys[:, :-1]).any(axis=0)) + 1
        for group in np.split(order, breaks):
            if len(group):
                self._read_alike(rows[group], int(forms[group[0]]))
        return self.found

    def _closure(self, wanted: Numbers) -> Rows:
        """The frames of tensors and of all that these refer to, but for what is there already."""
        index = self._index
        done, all_rows = set[int](), [index.frame_rows(wanted[:0])]
        frames = index.frame_of(wanted)
        while len(wanted):
            pairs = zip(wanted.tolist(), frames.tolist(), strict=True)
            new = {frame for number, frame in pairs if number not in self.found} - done
            done |= new
            rows = index.frame_rows(np.array(sorted(new), np.int64))
            all_rows.append(rows)
            wanted, frames = self._referred(rows)
        return np.concatenate(all_rows)

    def _referred(self, rows: Rows) -> tuple[Numbers, Numbers]:
        """Tensors that frames refer to, and the frames in which these lie.

        They must lead towards an end, and be of the same kind.
        """
        forms = self._index.form_numbers(rows)
        counts = self._first_kinds[forms + 1] - self._first_kinds[forms]
        slots = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        numbers = np.repeat(rows["first"].astype(np.int64), counts) + slots
        references = self._index.tensor_rows(numbers)["reference"].astype(np.int64)
        there = references != NONE
        targets, which = np.unique(references[there], return_inverse=True)
        frames = self._index.frame_of(targets)
        found = self._index.frame_rows(frames)
        places = self._first_kinds[self._index.form_numbers(found)] + targets - found["first"]
        own = (np.repeat(self._first_kinds[forms], counts) + slots)[there]
        wrong = self._kinds[places][which] != self._kinds[own]
        wrong |= found["depth"][which] >= np.repeat(rows["depth"], counts)[there]
        if wrong.any():
            at = int(np.flatnonzero(there)[np.argmax(wrong)])
            row = rows[np.searchsorted(np.cumsum(counts), at, side="right")]
            raise self._corrupt(row, int(numbers[at]), "refers to what it cannot")
        return targets, frames

    def _check_apart(self, rows: Rows) -> None:
        """No two frames share bytes, so what they stand for is bounded by the pack's size."""
        order = np.lexsort((rows["size"], rows["offset"], rows["pack"]))
        ends = rows["offset"][order] + rows["size"][order]
        wrong = (rows["pack"][order][1:] == rows["pack"][order][:-1]) & (
            rows["offset"][order][1:] < ends[:-1]
        )
        if wrong.any():
            row = rows[order[1:][wrong][0]]
            raise self._corrupt(row, int(row["first"]), "overlaps another")

    def _read_alike(self, rows: Rows, form: int) -> None:
        """Frames of one form and depth, ascending in the file."""
        place = self._index.forms[form]
        at = 0
        for frames in self._frames(rows, place.bytes):
            part = rows[at : at + len(frames)]
            at += len(frames)
            raw = self._decode(form, part, frames)
            numbers = part["first"].astype(np.int64)[:, None] + np.arange(len(place.kinds))
            known = self._index.tensor_rows(numbers.ravel())["address"].tobytes()
            addresses = [known[n : n + HASH_BYTES] for n in range(0, len(known), HASH_BYTES)]
            start = 0
            for slot, (kind, stop) in enumerate(zip(place.kinds, place.stops, strict=True)):
                values = raw[:, start:stop]
                start = stop
                expected = addresses[slot :: len(place.kinds)]
                if (found := hashes(kind, values)) != expected:
                    row = next(n for n, one in enumerate(found) if one != expected[n])
                    number = int(numbers[row, slot])
                    raise self._corrupt(part[row], number, "is damaged: it has another hash")
                listed = numbers[:, slot].tolist()
                self.groups.append((kind, listed, values))
                self.found.update(zip(listed, values, strict=True))

    def _frames(self, rows: Rows, stands_for: int) -> Iterator[list[memoryview]]:
        """Frames in the file's order, many at a time; those close together are read at once."""
        starts = rows["offset"].astype(np.int64)
        stops = starts + rows["size"].astype(np.int64)
        far = starts[1:] - stops[:-1] > _GAP
        windows = (starts[1:] // _READ) != (starts[:-1] // _READ)
        block = max(1, BLOCK_BYTES // max(1, stands_for))
        name = self._index.packs[rows[0]["pack"]].name
        pending: list[memoryview] = []
        for run in np.split(np.arange(len(rows)), np.flatnonzero(far | windows) + 1):
            start, stop = int(starts[run[0]]), int(stops[run].max())
            data = memoryview(read_part(self._backend, name, start, stop - start))
            spans = zip(starts[run].tolist(), stops[run].tolist(), strict=True)
            pending += [data[a - start : b - start] for a, b in spans]
            while len(pending) >= block:
                yield pending[:block]
                del pending[:block]
        if pending:
            yield pending

    def _decode(self, form: int, rows: Rows, frames: list[memoryview]) -> Bytes:
        """Bytes ``(frames, bytes)`` of frames of one form."""
        place = self._index.forms[form]
        if place.codec == RAW:
            return np.frombuffer(bytearray(b"".join(frames)), np.uint8).reshape(len(frames), -1)
        try:
            left = decoded(self._split(form, rows[0]), frames)
        except FrameError as error:
            row = rows[error.row]
            what = f"is damaged: its frame is {error}"
            raise self._corrupt(row, int(row["first"]), what) from None
        words = restored(place.codec, place.is_float, left, self._reference(place, rows))
        return words.view(np.uint8).reshape(len(rows), place.bytes)

    def _reference(self, form: Form, rows: Rows) -> NDArray[Any]:
        """Words ``(frames or 1, words)`` that frames of a form are compared with."""
        numbers = rows["first"].astype(np.int64)[:, None] + np.arange(len(form.kinds))
        references = self._index.tensor_rows(numbers.ravel())["reference"].reshape(numbers.shape)
        if (references == references[0]).all():
            references = references[:1]
        return side_by_side(form.kinds, references, self.found)

    def _split(self, form: int, row: Any) -> Split:  # noqa: ANN401 - a record of numpy
        """How the words of a form's frames are split."""
        if form in self._splits:
            return self._splits[form]
        place = self._index.forms[form]
        size = place.word_type.itemsize
        if isinstance(place.keys, slice):
            start, stop = place.keys.start, place.keys.stop
            name = self._index.packs[row["pack"]].name
            words = sum(place.slots)
            try:
                if not 0 <= words <= LARGEST_RATIO * (stop - start):
                    raise FrameError(0, "of another size than it says")
                stored = read_part(self._backend, name, start, stop - start)
                keys = np.frombuffer(decompressed(0, stored, words), np.uint8)
                split = Split(size, keys, place.is_squeezed)
            except (FrameError, ValueError):
                number = int(row["first"])
                raise self._corrupt(row, number, "is damaged: its keys are none") from None
        else:
            split = split_by_tensor(size, place.keys or (), place.slots, place.is_squeezed)
        self._splits[form] = split
        return split

    def _corrupt(self, row: Any, number: int, what: str) -> CorruptError:  # noqa: ANN401
        pack = self._index.packs[row["pack"]].name
        return CorruptError(f"{self._backend.place}/{pack}: {self._owner(number)} {what}")

    def _owner(self, number: int) -> str:
        """Which tensor of which model it is, for an error."""
        try:
            for entry in self._index.all_entries().values():
                if number in entry.rows:
                    name = self._index.layouts[entry.layout][entry.rows.index(number)][0]
                    return f"tensor {name!r} of model {entry.model!r}"
        except CorruptError:
            pass
        return f"tensor {number}, which others refer to,"


def assembled(
    index: StoreIndex, entries: list[ModelEntry], reader: Reader, framework: str
) -> dict[str, Tensors]:
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
    found: dict[str, Tensors] = {}
    for entry in entries:
        tensors = found[entry.model] = {}
        for (name, _), number in zip(index.layouts[entry.layout], entry.rows, strict=True):
            value = values[number]
            if number in handed:
                value = value.clone() if framework == "torch" else value.copy()
            handed.add(number)
            tensors[name] = value
    return found


def _refuse_what_numpy_lacks(index: StoreIndex, entries: Sequence[ModelEntry]) -> None:
    for entry in entries:
        for name, kind in index.layouts[entry.layout]:
            if not numpy_has(kind):
                raise ModelError(
                    f"model {entry.model!r}, tensor {name!r} is of type {kind.dtype}, which numpy "
                    f"lacks; load it for torch"
                )
