"""Validation rows of the choosing half, by which a training stops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.formats.kinds import VALIDATION
from shoal.formats.row_store import ShardRows
from shoal.formats.units import UNIT
from shoal.partitions.reader import choosing_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class HeldRows:
    """Rows in memory.

    Attributes:
        rows: ``x`` and ``y``, in canonical order; nothing where there are no rows.
    """

    rows: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.rows.get("y", ()))

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return sum(array.nbytes for array in self.rows.values())

    def blocks(self) -> Iterator[Mapping[str, NDArray[Any]]]:
        """All rows at once."""
        if len(self):
            yield self.rows


class HeldShards:
    """The choosing half of the validation rows of shards, in memory where they are few."""

    def __init__(self, shards: Sequence[Path], most: int) -> None:
        """Find the rows.

        Args:
            shards: Encoded shards; their order matters.
            most: Rows that are kept in memory; more are read again each time.
        """
        self._places: dict[Path, NDArray[np.int64]] = {}
        for path in shards:
            with ShardRows(path) as shard:
                held = np.flatnonzero(shard.read("fold") == VALIDATION)
                rows = {name: shard.read(name)[held] for name in shard.names(("key", UNIT))}
                self._places[path] = choosing_rows(rows | {"place": held})["place"]
        self._resident = list(self._read()) if len(self) <= most else None

    def __len__(self) -> int:
        return sum(len(places) for places in self._places.values())

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return sum(HeldRows(block).nbytes for block in self._resident or ())

    def blocks(self) -> Iterator[Arrays]:
        """The rows in shard order."""
        return self._read() if self._resident is None else iter(self._resident)

    def _read(self) -> Iterator[Arrays]:
        for path, places in self._places.items():
            with ShardRows(path) as shard:
                for start in range(0, shard.rows, shard.chunk_rows):
                    stop = start + shard.chunk_rows
                    first, last = np.searchsorted(places, (start, stop))
                    own = places[first:last] - start
                    if len(own):
                        yield {name: shard.read(name, start, stop)[own] for name in ("x", "y")}
