"""Sketch of a shard: all that the check of all rows needs of it, so that it reads no table.

It is two files. One is a sample of rows (:class:`shoal.split.leaks.Sample`). The other has entries
of hashes in ascending order, so that those of many shards are merged range by range:

======  ==========================================  ==========================================
name    hash                                        an entry is of one
======  ==========================================  ==========================================
key     of the row's key                            key, content (label and all) and fold
input   of the inputs, where keys are those of ids  inputs and fold
group   of the group, where there are groups        group and fold, rows outside of folds aside
======  ==========================================  ==========================================

They take 33 bytes per row, with ids 58. Whoever writes them holds some three times that.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow.compute as pc
from typing_extensions import TypedDict

from shoal.formats import tables
from shoal.formats.fitted_state import save_state, sliced
from shoal.formats.headers import read_weights
from shoal.formats.json_file import parse_json
from shoal.formats.kinds import OUTSIDE, TRAIN
from shoal.formats.stored import as_kind, naming
from shoal.split.keys import content_hashes, input_hashes, value_hashes
from shoal.split.leaks import Sample
from shoal.split.spellings import Spellings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from shoal.formats.tables import Columns

    Numbers = NDArray[np.uint64]

BLOCK = 1 << 19
"""Entries that are merged at a time, about 100 bytes each."""

_VALUES = "values of "
_SPELLED = ("label", "categorical", "group")


class Summary(TypedDict):
    """Facts about a shard.

    Attributes:
        rows: Its rows.
        folds: Rows of each fold, and of none.
        labels: At most two distinct labels of the training fold.
    """

    rows: int
    folds: list[int]
    labels: list[str] | list[float]


@dataclass(frozen=True)
class Entries:
    """Distinct hashes, and the rows that have them.

    Attributes:
        hash: First and last eight bytes, as numbers in the order of bytes, ``(entries, 2)``.
        content: First eight bytes of the content's hash; 0 where it does not count.
        fold: Fold code.
        rows: How many rows there are.
        first: Place of the first of them, from 0: in its shard, or among all rows where merged.
    """

    hash: Numbers
    content: Numbers
    fold: NDArray[np.uint8]
    rows: NDArray[np.uint32]
    first: NDArray[Any]

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


def has_inputs_of_its_own(columns: Columns) -> bool:
    """Whether a row's inputs are hashed beside its key."""
    return bool(columns.of_kind("id") and columns.inputs)


def as_numbers(hashes: NDArray[np.uint8]) -> Numbers:
    """Hashes of 16 bytes as pairs of numbers that sort as they do, ``(rows, 2)``."""
    return np.ascontiguousarray(hashes).view(">u8").astype(np.uint64)


def spellings_of(columns: Columns) -> list[Spellings]:
    """An empty count for each column whose spellings are checked."""
    names = columns.of_kind(*_SPELLED)
    return [Spellings(name) for name in names if columns.arrow_type(name) == "string"]


class Sketch:
    """Sketch of the shard whose rows are added."""

    def __init__(self, columns: Columns) -> None:
        """Take the frozen columns."""
        self._columns = columns
        self._rows = 0
        self._parts: dict[str, list[tuple[NDArray[Any], ...]]] = defaultdict(list)
        self._folds = np.zeros(OUTSIDE + 1, dtype=np.int64)
        self._labels: set[Any] = set()
        self._spellings = spellings_of(columns)
        self._sample = Sample(columns)

    def add(self, rows: pa.Table) -> None:
        """Take the next rows of the table."""
        columns, folds = self._columns, tables.folds(rows)
        places = np.arange(self._rows, self._rows + len(rows), dtype=np.uint32)
        content = as_numbers(content_hashes(rows, columns))[:, 0]
        keys = as_numbers(tables.keys(rows))
        self._parts["key"].append((keys, folds, places, content))
        if has_inputs_of_its_own(columns):
            inputs = as_numbers(input_hashes(rows, columns))
            self._parts["input"].append((inputs, folds, places))
        for name in columns.of_kind("group"):
            hashes, there = _group_hashes(rows[name])
            counted = there & (folds != OUTSIDE)
            self._parts["group"].append((hashes[counted], folds[counted], places[counted]))
        if columns.label is not None and len(self._labels) < 2:
            training = rows[columns.label].filter(folds == TRAIN)
            self._labels |= set(training.unique().to_pylist()[:2])
        for spellings in self._spellings:
            spellings.add(rows[spellings.column])
        self._sample.add(rows)
        self._folds += np.bincount(folds, minlength=OUTSIDE + 1)
        self._rows += len(rows)

    def save(self, hashes: Path, sample: Path) -> None:
        """Write both files.

        Args:
            hashes: Entries, labels and spellings, safetensors.
            sample: The sample of rows, Parquet.
        """
        tensors: dict[str, NDArray[Any]] = {}
        for name in list(self._parts):
            columns = [np.concatenate(part) for part in zip(*self._parts.pop(name), strict=True)]
            distinct = _distinct(*columns)
            tensors |= {f"{name}.{each}": values for each, values in distinct.items()}
        for spellings in self._spellings:
            if spellings.counts is not None:
                text = json.dumps(spellings.counts, sort_keys=True, ensure_ascii=False)
                tensors[_VALUES + spellings.column] = np.frombuffer(text.encode(), np.uint8)
        labels: Any = sorted(self._labels)[:2]
        facts = Summary(rows=self._rows, folds=self._folds.tolist(), labels=labels)
        save_state(hashes, tensors, facts)
        self._sample.save(sample)


def _group_hashes(values: pa.ChunkedArray) -> tuple[Numbers, NDArray[np.bool_]]:
    """Hash of each row's group, and whether it has one; each name is hashed once."""
    encoded = pc.dictionary_encode(values.combine_chunks())
    names = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
    place = encoded.indices.fill_null(len(names) - 1).to_numpy(zero_copy_only=False)
    return as_numbers(value_hashes(names))[place], place < len(names) - 1


def _distinct(
    hashes: Numbers,
    folds: NDArray[np.uint8],
    places: NDArray[np.uint32],
    content: Numbers | None = None,
) -> dict[str, NDArray[Any]]:
    """An entry for each hash, content and fold, ascending; rows are given in order of place."""
    ties: list[NDArray[Any]] = [folds] if content is None else [folds, content]
    order = np.argsort(hashes[:, 0], kind="stable")
    shared = _shared(hashes[order, 0])
    among = order[shared]
    order[shared] = among[np.lexsort((*(tie[among] for tie in ties), *hashes[among].T[::-1]))]
    new = np.zeros(len(order), dtype=bool)
    new[:1] = True
    for column in (hashes[:, 0], hashes[:, 1], *ties):
        new[1:] |= column[order[1:]] != column[order[:-1]]
    starts = np.flatnonzero(new)
    first = order[starts]
    entries: dict[str, NDArray[Any]] = {
        "hash": hashes[first],
        "fold": folds[first],
        "first": places[first],
    }
    entries["rows"] = np.diff(np.append(starts, len(order))).astype(np.uint32)
    return entries if content is None else entries | {"content": content[first]}


def _shared(ordered: Numbers) -> NDArray[np.bool_]:
    """Which of some ordered numbers are there more than once."""
    shared = np.zeros(len(ordered), dtype=bool)
    same = ordered[1:] == ordered[:-1]
    shared[1:] |= same
    shared[:-1] |= same
    return shared


@dataclass(frozen=True)
class Hashes:
    """Reader of the entries, labels and spellings of a shard.

    Attributes:
        path: The file.
        summary: Facts about the shard.
        sizes: Length of each tensor.
    """

    path: Path
    summary: Summary
    sizes: Mapping[str, int]

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the header.

        Raises:
            SourceError: There is no such file.
            CorruptError: It is not such a file.
        """
        with sliced(path):
            header = read_weights(path)
        with naming(path):
            summary = as_kind(Summary, header.meta)
        return cls(path, summary, {each.name: each.shape[0] for each in header.tensors})

    def values(self, column: str) -> dict[str, int] | None:
        """Rows of each value of a column; None where there are too many."""
        if _VALUES + column not in self.sizes:
            return None
        with sliced(self.path) as file:
            text = file.get_tensor(_VALUES + column).tobytes()
        return parse_json(text, self.path, dict[str, int])

    def entries(self, name: str, start: int, bound: int, share: float) -> Entries:
        """Entries from a place on whose hashes begin with less than a number.

        Args:
            name: Which entries.
            start: Place of the first.
            bound: The number, at most 2⁶⁴.
            share: Share of the rest that they are likely to be: so many are read at first.
        """
        size = self.sizes.get(f"{name}.hash", 0)
        if start == size:
            return _NONE
        likely = share * (size - start)
        stop = start + math.ceil(likely + 4 * math.sqrt(likely) + 1)
        with sliced(self.path) as file:
            while True:
                stop = min(stop, size)
                hashes = file.get_slice(f"{name}.hash")[start:stop]
                if stop == size or int(hashes[-1, 0]) >= bound:
                    break
                stop += stop - start
            if bound < 1 << 64:
                stop = start + int(np.searchsorted(hashes[:, 0], np.uint64(bound)))
            others = {
                each: file.get_slice(f"{name}.{each}")[start:stop]
                for each in ("content", "fold", "rows", "first")
                if f"{name}.{each}" in self.sizes
            }
        others.setdefault("content", np.zeros(stop - start, dtype=np.uint64))
        return Entries(hash=hashes[: stop - start], **others)


_NONE = Entries(
    np.empty((0, 2), np.uint64),
    np.empty(0, np.uint64),
    np.empty(0, np.uint8),
    np.empty(0, np.uint32),
    np.empty(0, np.uint32),
)


def merged(shards: Sequence[Hashes], name: str) -> Iterator[Entries]:
    """Entries of all shards, one range of hashes after the other; places count through all rows.

    Memory: that of :data:`BLOCK` entries, whatever the number of rows.

    Args:
        shards: The shards, in order.
        name: Which entries.
    """
    rows = [shard.summary["rows"] for shard in shards]
    before = np.cumsum([0, *rows])
    size = sum(shard.sizes.get(f"{name}.hash", 0) for shard in shards)
    count = max(1, math.ceil(size / BLOCK))
    done = [0] * len(shards)
    for number in range(count):
        parts = []
        for each, shard in enumerate(shards):
            bound = (number + 1) * (1 << 64) // count
            part = shard.entries(name, done[each], bound, 1 / (count - number))
            done[each] += len(part)
            parts.append(replace(part, first=part.first + before[each]))
        names = [each.name for each in fields(Entries)]
        yield Entries(*(np.concatenate([getattr(part, each) for part in parts]) for each in names))
