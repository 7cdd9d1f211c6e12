"""Tensors out of packs: read, decoded, and checked against their content address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import CorruptError
from shoal.pool_store.columns import NONE
from shoal.pool_store.frames import LARGEST_RATIO, Cut, FrameError, decoded
from shoal.pool_store.index import read_part
from shoal.pool_store.residuals import RAW, restored
from shoal.pool_store.tensors import HASH_BYTES, hashes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from shoal.pool_store.backends import Backend
    from shoal.pool_store.index import Index
    from shoal.pool_store.index_format import Rows
    from shoal.pool_store.tensors import Kind

    Bytes = NDArray[np.uint8]

_GAP = 1 << 12  # bytes between two frames that are read along rather than skipped
_READ = 1 << 26  # bytes read at a time


class Reader:
    """Reads tensors of one state of a store.

    Attributes:
        found: Number of a tensor to its bytes, of all that were read so far.
        groups: The same, many of a kind together: kind, numbers, bytes ``(tensors, bytes)``.
    """

    def __init__(self, backend: Backend, index: Index) -> None:
        self._backend = backend
        self._index = index
        self._cuts: dict[tuple[int, int], Cut] = {}
        self.found: dict[int, Bytes] = {}
        self.groups: list[tuple[Kind, list[int], Bytes]] = []

    def read(self, numbers: Iterable[int]) -> dict[int, Bytes]:
        """Bytes of tensors, and of all that they refer to, by number.

        Raises:
            CorruptError: A tensor is not what its content address says.
            MissingFileError: A pack is missing.
        """
        wanted, rows = self._closure(np.unique(np.fromiter(numbers, np.int64)))
        columns = self._index.column_numbers(rows)
        self._check_references(wanted, rows, columns)
        self._check_apart(wanted, rows)
        order = np.lexsort((rows["offset"], rows["cut"], rows["codec"], columns, rows["depth"]))
        keys = np.stack([rows["depth"], columns, rows["codec"], rows["cut"]])[:, order]
        breaks = np.flatnonzero((keys[:, 1:] != keys[:, :-1]).any(axis=0)) + 1
        for group in np.split(order, breaks):
            if len(group):
                self._read_alike(wanted[group], rows[group], int(columns[group[0]]))
        return self.found

    def _closure(self, wanted: NDArray[np.int64]) -> tuple[NDArray[np.int64], Rows]:
        """The tensors and all that they refer to, without those that are there already."""
        if self.found:
            wanted = np.array([n for n in wanted.tolist() if n not in self.found], np.int64)
        all_numbers, all_rows = [wanted], [self._index.rows(wanted)]
        while len(all_numbers[-1]):
            references = np.unique(all_rows[-1]["reference"].astype(np.int64))
            references = references[references != NONE]
            known = np.isin(references, np.concatenate(all_numbers))
            more = [n for n in references[~known].tolist() if n not in self.found]
            all_numbers.append(np.array(more, np.int64))
            all_rows.append(self._index.rows(all_numbers[-1]))
        return np.concatenate(all_numbers), np.concatenate(all_rows)

    def _check_references(
        self, numbers: NDArray[np.int64], rows: Rows, columns: NDArray[np.int64]
    ) -> None:
        """References must lead towards an end, and to tensors of the same kind."""
        refers = np.flatnonzero(rows["reference"] != NONE)
        references = rows["reference"][refers].astype(np.int64)
        targets = self._index.rows(references)
        kinds: dict[Kind, int] = {}
        alike = np.array([kinds.setdefault(c.kind, len(kinds)) for c in self._index.columns])
        same = alike[columns[refers]] == alike[self._index.column_numbers(targets)]
        wrong = (targets["depth"] >= rows["depth"][refers]) | ~same
        if wrong.any():
            number = int(numbers[refers][wrong][0])
            raise self._corrupt(rows[refers][wrong][0], number, "refers to what it cannot")

    def _check_apart(self, numbers: NDArray[np.int64], rows: Rows) -> None:
        """No two frames share bytes, so what they stand for is bounded by the pack's size."""
        order = np.lexsort((rows["size"], rows["offset"], rows["pack"]))
        ends = rows["offset"][order] + rows["size"][order]
        wrong = (rows["pack"][order][1:] == rows["pack"][order][:-1]) & (
            rows["offset"][order][1:] < ends[:-1]
        )
        if wrong.any():
            at = order[1:][wrong][0]
            raise self._corrupt(rows[at], int(numbers[at]), "overlaps another")

    def _read_alike(self, numbers: NDArray[np.int64], rows: Rows, column: int) -> None:
        """Tensors of one column and codec, ascending in the file."""
        kind = self._index.columns[column].kind
        pack = self._index.packs[rows[0]["pack"]].name
        at = 0
        for frames in self._frames(pack, rows):
            part = slice(at, at + len(frames))
            at += len(frames)
            raw = self._decode(kind, column, rows[part], numbers[part], frames)
            expected = np.ascontiguousarray(rows[part]["address"]).tobytes()
            for row, address in enumerate(hashes(kind, raw)):
                if address != expected[row * HASH_BYTES : (row + 1) * HASH_BYTES]:
                    number = int(numbers[part][row])
                    raise self._corrupt(rows[0], number, "is damaged: it has another hash")
            listed = numbers[part].tolist()
            self.groups.append((kind, listed, raw))
            self.found.update(zip(listed, raw, strict=True))

    def _frames(self, pack: str, rows: Rows) -> Iterator[list[memoryview]]:
        """Frames in the file's order, many read at once where they lie close together."""
        starts = rows["offset"].astype(np.int64)
        stops = starts + rows["size"].astype(np.int64)
        far = starts[1:] - stops[:-1] > _GAP
        windows = (starts[1:] // _READ) != (starts[:-1] // _READ)
        for run in np.split(np.arange(len(rows)), np.flatnonzero(far | windows) + 1):
            start = int(starts[run[0]])
            stop = int(stops[run].max())
            data = memoryview(read_part(self._backend, pack, start, stop - start))
            spans = zip(starts[run].tolist(), stops[run].tolist(), strict=True)
            yield [data[a - start : b - start] for a, b in spans]

    def _decode(
        self,
        kind: Kind,
        column: int,
        rows: Rows,
        numbers: NDArray[np.int64],
        frames: list[memoryview],
    ) -> Bytes:
        """Bytes ``(tensors, bytes)`` of frames of one codec."""
        codec = int(rows[0]["codec"])
        if codec == RAW:
            plain = np.frombuffer(b"".join(frames), np.uint8).reshape(len(rows), kind.bytes)
            return plain.copy()
        cut = self._cut(column, rows[0], int(numbers[0]))
        try:
            left = decoded(kind, cut, frames)
        except FrameError as error:
            number = int(numbers[error.row])
            raise self._corrupt(rows[0], number, f"is damaged: its frame is {error}") from None
        words = restored(codec, kind, left, self._references(kind, rows))
        return np.ascontiguousarray(words).view(np.uint8).reshape(len(rows), kind.bytes)

    def _references(self, kind: Kind, rows: Rows) -> NDArray[Any] | None:
        references = rows["reference"]
        if references[0] == NONE:
            return None
        if (references == references[0]).all():
            return self.found[int(references[0])].view(kind.word_type)[None]
        raw = np.concatenate([self.found[number] for number in references.tolist()])
        return raw.view(kind.word_type).reshape(len(rows), kind.words)

    def _cut(self, column: int, row: Any, number: int) -> Cut:  # noqa: ANN401 - a record of numpy
        from numcodecs import zstd

        key = column, int(row["cut"])
        if key in self._cuts:
            return self._cuts[key]
        place = self._index.columns[column]
        stored = place.cuts[key[1]]
        limit = 8 * place.kind.word_type.itemsize
        bits: int | NDArray[np.uint8]
        if isinstance(stored, int):
            bits = stored
            sound = 0 <= stored < limit
        else:
            offset, size, places = stored
            sound = places == place.kind.words and places <= LARGEST_RATIO * size + LARGEST_RATIO
            bits = by_place = np.zeros(places if sound else 0, np.uint8)
            try:
                name = self._index.packs[row["pack"]].name
                zstd.decompress(read_part(self._backend, name, offset, size), by_place)
            except (RuntimeError, ValueError):
                sound = False
            sound = sound and by_place.max(initial=0) < limit
        if not sound:
            raise self._corrupt(row, number, "is damaged: the cut of its words is none")
        self._cuts[key] = Cut(place.kind, bits)
        return self._cuts[key]

    def _corrupt(self, row: Any, number: int, what: str) -> CorruptError:  # noqa: ANN401
        pack = self._index.packs[row["pack"]].name
        owner = self._owner(number)
        return CorruptError(f"{self._backend.place}/{pack}: {owner} {what}")

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
