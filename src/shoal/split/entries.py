"""Entries of hashes of all rows, in ascending ranges, so that a check holds one range at a time.

======  ==========================================  ==========================================
name    hash                                        an entry is of one
======  ==========================================  ==========================================
key     of the row's key                            key, content (label and all) and fold
input   of the inputs, where keys are those of ids  inputs and fold
group   of the group, where there are groups        group, shard (as content) and fold
======  ==========================================  ==========================================

They are gathered from the hashes that the split tables hold, block by block, and lie in a file
without a name until they are read.
"""

from __future__ import annotations

import math
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow.compute as pc

from shoal.formats import tables
from shoal.split.keys import content_hashes, value_hashes
from shoal.split.sketch import as_numbers, has_inputs_of_its_own

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from shoal.formats.tables import Columns
    from shoal.split.sketch import Facts

    Numbers = NDArray[np.uint64]

BLOCK = 1 << 19
"""Rows that are sorted, and entries that are merged, at a time; about 100 bytes each."""
_READ_ROWS = 65_536


@dataclass(frozen=True)
class Entries:
    """Distinct hashes, and the rows that have them.

    Attributes:
        hash: First and last eight bytes, as numbers in the order of bytes, ``(entries, 2)``.
        content: First eight bytes of the content's hash, or number of the shard; 0 where neither
            counts.
        fold: Fold code.
        rows: How many rows there are.
        first: Place of the first of them among all rows, from 0.
    """

    hash: Numbers
    content: Numbers
    fold: NDArray[np.uint8]
    rows: NDArray[np.uint32]
    first: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.fold)

    def take(self, chosen: NDArray[Any]) -> Entries:
        """The chosen entries, by place or by flag."""
        return Entries(*(getattr(self, each.name)[chosen] for each in fields(self)))

    def alike(self) -> Entries:
        """All entries whose hash another one has, by hash, content, fold and place.

        Some may be alike in the first half of their hash alone.
        """
        order = np.argsort(self.hash[:, 0], kind="stable")
        found = self.take(order[_shared(self.hash[order, 0])])
        return found.take(np.lexsort((found.first, found.fold, found.content, *found.hash.T[::-1])))

    def distinct(self) -> Entries:
        """One entry for those alike in hash, content and fold, ascending; the first of each."""
        order = np.argsort(self.hash[:, 0], kind="stable")
        shared = _shared(self.hash[order, 0])
        among = order[shared]
        columns = (*self.hash.T, self.content, self.fold)
        order[shared] = among[np.lexsort([column[among] for column in columns[::-1]])]
        new = np.zeros(len(order), dtype=bool)
        new[:1] = True
        for column in columns:
            new[1:] |= column[order[1:]] != column[order[:-1]]
        rows = np.add.reduceat(self.rows[order], np.flatnonzero(new)) if len(order) else self.rows
        found = self.take(order[new])
        return Entries(found.hash, found.content, found.fold, rows, found.first)


_RECORD = np.dtype(
    [("hash", "<u8", 2), ("content", "<u8"), ("fold", "u1"), ("rows", "<u4"), ("first", "<i8")]
)


class Ranges:
    """Entries of one name; iterating gives each once, one range of hashes after the other.

    Memory: that of :data:`BLOCK` rows, whatever their number, unless more share a hash. Hashes are
    spread evenly, so that ranges are about equally large.
    """

    def __init__(self, rows: int, folder: Path | None) -> None:
        """Begin without entries.

        Args:
            rows: Rows that will be added, about.
            folder: Where there is room for 37 bytes of each; by default that of temporary files.
        """
        self._count = max(1, math.ceil(rows / BLOCK))
        bounds = [number * (1 << 64) // self._count for number in range(1, self._count)]
        self._bounds = np.array(bounds, dtype=np.uint64)
        self._parts: list[Entries] = []
        self._edges: list[NDArray[np.int64]] = []
        self._written = 0
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with this

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def add(
        self,
        hashes: Numbers,
        folds: NDArray[np.uint8],
        places: NDArray[np.int64],
        content: Numbers | None = None,
    ) -> None:
        """Take rows."""
        content = np.zeros(len(folds), np.uint64) if content is None else content
        rows = np.ones(len(folds), np.uint32)
        self._parts.append(Entries(hashes, content, folds, rows, places))
        if sum(map(len, self._parts)) >= BLOCK:
            self._flush()

    def __iter__(self) -> Iterator[Entries]:
        if self._parts:
            self._flush()
        for number in range(self._count):
            parts = [np.empty(0, _RECORD)]
            for edges in self._edges:
                start, stop = edges[number : number + 2].tolist()
                self._file.seek(start * _RECORD.itemsize)
                parts.append(np.fromfile(self._file, _RECORD, stop - start))
            records = np.concatenate(parts)
            yield Entries(*(np.ascontiguousarray(records[each.name]) for each in fields(Entries)))

    def _flush(self) -> None:
        """Write a block, sorted."""
        entries = _joined(self._parts).distinct()
        self._parts = []
        records = np.empty(len(entries), _RECORD)
        for each in fields(Entries):
            records[each.name] = getattr(entries, each.name)
        inner = np.searchsorted(entries.hash[:, 0], self._bounds)
        self._edges.append(self._written + np.concatenate([[0], inner, [len(entries)]]))
        self._written += len(entries)
        self._file.seek(0, 2)
        self._file.write(records.data)


@contextmanager
def gathered(
    shards: Sequence[tuple[Path, Facts]], columns: Columns, folder: Path | None
) -> Iterator[dict[str, Ranges]]:
    """Entries of all rows, by name, until the block ends.

    Args:
        shards: Each split table with the facts about it.
        columns: The frozen columns.
        folder: Where there is room for them, see :class:`Ranges`.
    """
    names = ["key", *(["input"] if has_inputs_of_its_own(columns) else [])]
    names += ["group"] if columns.of_kind("group") else []
    rows = sum(facts.summary["rows"] for _, facts in shards)
    with ExitStack() as stack:
        found = {name: stack.enter_context(Ranges(rows, folder)) for name in names}
        _fill(found, shards, columns)
        yield found


def _fill(
    found: Mapping[str, Ranges], shards: Sequence[tuple[Path, Facts]], columns: Columns
) -> None:
    """Add the rows of all shards."""
    more, place = columns.of_kind("group", "time"), 0
    for number, (path, facts) in enumerate(shards):
        table, start = tables.Table(path), place
        for batch in table.batches(_READ_ROWS, [tables.KEY, tables.SOURCE, tables.FOLD, *more]):
            folds = tables.folds(batch)
            places = np.arange(place, place + len(batch))
            content = as_numbers(content_hashes(batch, columns))[:, 0]
            found["key"].add(as_numbers(tables.keys(batch)), folds, places, content)
            if "input" in found:
                inputs = facts.inputs(place - start, len(batch))
                found["input"].add(inputs, folds, places)
            for name in columns.of_kind("group"):
                hashes, there = _group_hashes(batch[name])
                shard = np.full(int(there.sum()), number, np.uint64)
                found["group"].add(hashes[there], folds[there], places[there], shard)
            place += len(batch)
        table.close()


def _joined(parts: list[Entries]) -> Entries:
    columns = ([getattr(part, each.name) for part in parts] for each in fields(Entries))
    return Entries(*map(np.concatenate, columns))


def _group_hashes(values: pa.ChunkedArray) -> tuple[Numbers, NDArray[np.bool_]]:
    """Hash of each row's group, and whether it has one; each name is hashed once."""
    encoded = pc.dictionary_encode(values.combine_chunks())
    names = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
    place = encoded.indices.fill_null(len(names) - 1).to_numpy(zero_copy_only=False)
    return as_numbers(value_hashes(names))[place], place < len(names) - 1


def _shared(ordered: Numbers) -> NDArray[np.bool_]:
    """Which of some ordered numbers are there more than once."""
    shared = np.zeros(len(ordered), dtype=bool)
    same = ordered[1:] == ordered[:-1]
    shared[1:] |= same
    shared[:-1] |= same
    return shared
