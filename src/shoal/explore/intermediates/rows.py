"""The rows of a release in blocks that keep their names while their rows stay the same."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import SettingsError, SourceError
from shoal.formats.hashing import uniform
from shoal.formats.row_store import ShardRows
from shoal.partitions.grouping import FOLD_NAMES
from shoal.partitions.index import UNASSIGNED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from shoal.partitions.reader import Index

OWN, ALL = "own", "all"
MOST_ROWS = 1024
ADDRESS_BYTES = 16
_SHARD_BITS = 40
_DESCRIBED = ("key", "partition", "fold", "y")


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of one partition in one shard, at most ``MOST_ROWS``, next to each other.

    Attributes:
        partition: Their partition; -1 is none.
        shard: Name of the shard.
        start: The first row's place in its row store.
        stop: The place after the last row's.
        picked: Places from ``start`` on of the rows that belong to a sample; None for all.
        number: Of the shard among the release's, by which rows are ordered.
        address: Hash over the rows' hashes: which rows, of what content, in what order.
    """

    partition: int
    shard: str
    start: int
    stop: int
    picked: NDArray[np.int64] | None
    number: int
    address: bytes

    def __len__(self) -> int:
        return self.stop - self.start if self.picked is None else len(self.picked)

    @property
    def name(self) -> str:
        """The block as messages name it."""
        return f"rows {self.start} to {self.stop} of shard {self.shard}"

    @property
    def order(self) -> NDArray[np.int64]:
        """One number per row, by which all rows of a release are ordered: shard, then place."""
        places = np.arange(self.start, self.stop)
        places = places if self.picked is None else places[self.picked]
        return places.astype(np.int64) + (self.number << _SHARD_BITS)


@dataclass(frozen=True)
class RowFacts:
    """A row's key, shard, partition, fold, and code or value of its label, where there is one."""

    key: str
    shard: str
    partition: int
    fold: str
    y: float | None


class ReleaseRows:
    """The rows that a release was made of."""

    def __init__(self, index: Index) -> None:
        """Look at a partition index.

        Args:
            index: The index; its row stores are read when rows are.
        """
        self._index = index
        self._open: ShardRows | None = None
        self._known: dict[tuple[str, int | None], list[Block]] = {}
        self._ranges = dict(enumerate_ranges(index))
        self._shards = sorted({shard for ranges in self._ranges.values() for shard, _, _ in ranges})

    def close(self) -> None:
        """Close the row store that is open."""
        if self._open is not None:
            self._open.close()
        self._open = None

    def blocks(self, choice: str, partition: int | None = None) -> list[Block]:
        """Blocks of some rows, shard after shard.

        Args:
            choice: ``own``: the partition's; ``all``: every row; a number: that many rows of all,
                those whose keys draw the smallest numbers.
            partition: The partition of the model; None, of a model of everything, has all rows.

        Raises:
            SettingsError: The choice is none of these.
            SourceError: `shoal gc` has removed the rows.
        """
        place = (choice, partition) if choice == OWN else (choice, None)
        place = (ALL, None) if place == (OWN, None) else place
        if place not in self._known:
            self._known[place] = list(self._chosen(*place))
        return self._known[place]

    def _chosen(self, choice: str, partition: int | None) -> Iterator[Block]:
        if choice == OWN and partition is not None:
            return self._blocks([partition], None)
        if choice == ALL:
            return self._blocks(sorted(self._ranges), None)
        if not (choice.isascii() and choice.isdigit() and int(choice) > 0):
            raise SettingsError(f"rows {choice!r}: choose own, all, or how many of all rows")
        return self._blocks(sorted(self._ranges), self._bound(int(choice)))

    def read(self, block: Block, name: str) -> NDArray[Any]:
        """An array of a block's rows."""
        rows = self._store(block.shard).read(name, block.start, block.stop)
        return rows if block.picked is None else rows[block.picked]

    def read_all(self, blocks: Sequence[Block], name: str) -> NDArray[Any]:
        """An array of several blocks' rows, one after another; neighbours are read at once."""
        parts: list[NDArray[Any]] = []
        at = 0
        while at < len(blocks):
            first, end = blocks[at], at + 1
            while end < len(blocks) and _follow(blocks[end - 1], blocks[end]):
                end += 1
            rows = self._store(first.shard).read(name, first.start, blocks[end - 1].stop)
            for block in blocks[at:end]:
                own = rows[block.start - first.start : block.stop - first.start]
                parts.append(own if block.picked is None else own[block.picked])
            at = end
        return np.concatenate(parts)

    def find(self, key: bytes) -> tuple[Block, int]:
        """The block of all rows that has a key, and the row's place in it.

        Raises:
            SourceError: No row has it.
        """
        wanted = np.frombuffer(key, np.uint8)
        for block in self._blocks(sorted(self._ranges), None):
            places = np.flatnonzero((self.read(block, "key") == wanted).all(axis=1))
            if len(places):
                return block, int(places[0])
        raise SourceError(
            f"key {key.hex()}: no row of this release has it; see table rows of `shoal query`"
        )

    def described(self, places: NDArray[np.int64]) -> list[RowFacts]:
        """Facts about rows.

        Args:
            places: Their numbers, as in :attr:`Block.order`.
        """
        wanted: dict[int, list[int]] = defaultdict(list)
        for place in sorted(set(places.tolist())):
            wanted[place >> _SHARD_BITS].append(place & ((1 << _SHARD_BITS) - 1))
        found: dict[int, RowFacts] = {}
        for number, own in wanted.items():
            store, first = self._store(self._shards[number]), own[0]
            arrays = {name: store.read(name, first, own[-1] + 1) for name in _DESCRIBED}
            for at in own:
                key, partition, fold, y = (arrays[name][at - first] for name in _DESCRIBED)
                found[(number << _SHARD_BITS) + at] = RowFacts(
                    key.tobytes().hex(),
                    self._shards[number],
                    int(partition),
                    FOLD_NAMES[fold],
                    y.item() if y.ndim == 0 else None,
                )
        return [found[place] for place in places.tolist()]

    def _blocks(self, partitions: list[int], bound: float | None) -> Iterator[Block]:
        """Blocks in order of shard and place, so that each row store is opened once."""
        by_shard: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
        for partition in partitions:
            for shard, start, stop in self._ranges[partition]:
                by_shard[shard].append((start, stop, partition))
        for number, shard in enumerate(self._shards):
            if shard not in by_shard:
                continue
            ranges = sorted(by_shard[shard])
            first, last = ranges[0][0], ranges[-1][1]
            hashes = self._store(shard).read("hash", first, last)
            drawn = None
            if bound is not None:
                drawn = _draw(self._store(shard).read("key", first, last)) <= bound
            for start, stop, partition in ranges:
                for begin in range(start, stop, MOST_ROWS):
                    end = min(begin + MOST_ROWS, stop)
                    inside = slice(begin - first, end - first)
                    picked = None if drawn is None else np.flatnonzero(drawn[inside])
                    if picked is None or len(picked):
                        own = hashes[inside] if picked is None else hashes[inside][picked]
                        place = partition, shard, begin, end, picked
                        yield Block(*place, number, _address(own))

    def _bound(self, rows: int) -> float:
        """The draw below or at which as many rows lie."""
        draws = [_draw(self._store(shard).read("key")) for shard in self._shards]
        joined = np.concatenate(draws) if draws else np.empty(0)
        return float(np.partition(joined, rows - 1)[rows - 1]) if rows < len(joined) else 1.0

    def _store(self, shard: str) -> ShardRows:
        path = self._index.store(shard)
        if self._open is None or self._open.path != path:
            self.close()
            if not path.exists():
                raise SourceError(
                    f"{path}: not there, `shoal gc` removes the rows of old releases; choose a "
                    f"later release, or run the workflow again"
                )
            self._open = ShardRows(path)
        return self._open


def enumerate_ranges(index: Index) -> Iterator[tuple[int, list[tuple[str, int, int]]]]:
    """For each partition, and -1 for none, where its rows lie: whole ranges, folds joined."""
    for partition in (UNASSIGNED, *range(len(index.partitions))):
        joined: list[tuple[str, int, int]] = []
        members = index.members(partition)
        for shard, start, stop in sorted(rows for fold in FOLD_NAMES for rows in members[fold]):
            if joined and joined[-1][0] == shard and joined[-1][2] == start:
                joined[-1] = (shard, joined[-1][1], stop)
            else:
                joined.append((shard, start, stop))
        yield partition, joined


def _follow(one: Block, other: Block) -> bool:
    """Whether a block begins where another ends."""
    return one.shard == other.shard and one.stop == other.start


def _draw(keys: NDArray[np.uint8]) -> NDArray[np.float64]:
    return uniform(keys, "intermediates")


def _address(hashes: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(hashes.tobytes()).digest()[:ADDRESS_BYTES]
