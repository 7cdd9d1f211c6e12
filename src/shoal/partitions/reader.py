"""The rows of one partition, found through the index and read by their ranges alone."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import DataError
from shoal.formats.documents.index import Members, PartitionIndex, named_file
from shoal.formats.hashing import ROW_HASH_BYTES, multiset_digest, multiset_sum, row_order
from shoal.formats.json_file import read_made
from shoal.formats.row_store import CHUNK_ROWS, ShardRows, known_labels
from shoal.formats.units import UNIT, coin
from shoal.partitions.drawn import link_rows
from shoal.partitions.index import UNASSIGNED, specialist_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from shoal.formats.documents.index import PartitionEntry


class Index:
    """The partition index and the row stores beside it.

    Attributes:
        path: ``index.json``; ``members/`` lies beside it, and it names the folder of row stores.
        content: Its content.
        rows_read: Rows read from stores through this index, whole chunks counted.
    """

    def __init__(self, path: Path, content: PartitionIndex | None = None) -> None:
        self.path = path
        self.content = content or read_made(path, PartitionIndex)
        self.rows_read = 0

    @property
    def partitions(self) -> list[PartitionEntry]:
        """Entry of each partition, in order of number."""
        return self.content["partitions"]

    @property
    def trained(self) -> list[PartitionEntry]:
        """Entries of the partitions with enough rows for a specialist."""
        return [entry for entry in self.partitions if entry["trained"]]

    def partition_with(self, train: str, validation: str | None = None) -> int:
        """Number of the partition whose specialist is made from these rows, and chosen by these.

        Raises:
            DataError: There is none: the index has changed since the job was planned.
        """
        for entry in self.partitions:
            same_validation = validation in (None, entry["digests"]["validation"])
            if entry["specialist"] == train and same_validation:
                return int(entry["partition"])
        raise DataError(
            f"{self.path}: no partition has training digest {train}; the data changed since "
            f"this job was planned, run the workflow again"
        )

    def places(self, partition: int, fold: str) -> list[tuple[Path, int, int]]:
        """Where one partition's rows of one fold lie: row store, first row, row after the last."""
        return [(self.store(shard), *rows) for shard, *rows in self.members(partition)[fold]]

    def members(self, partition: int) -> Members:
        """Where one partition's rows lie, by fold: shard, first row, row after the last."""
        return read_made(self.path.parent / "members" / f"{partition}.json", Members)

    def store(self, shard: str) -> Path:
        """The row store of a shard."""
        stores = os.path.normpath(self.path.parent / self.content["stores"])
        return Path(stores, f"{shard}.zarr.zip")

    def parents(self, partition: int) -> Iterator[Index]:
        """Indexes with the rows of what a partition's specialist continues from, nearest first."""
        index = self
        while (continued := index.partitions[partition].get("continued")) is not None:
            index = Index(named_file(index.path, continued["index"]))
            yield index

    def specialist_rows(
        self, partition: int, names: tuple[str, ...]
    ) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """Arrays of the rows that a partition's specialist is made from.

        Returns:
            Its training rows, of a link those that it is trained on; and where trainings stop
            early, the choosing half of its validation rows, which say when. Nothing where there are
            none.

        Raises:
            DataError: The rows have another digest than the index says.
        """
        entry = self.partitions[partition]
        index = self
        if "waiting" in entry:
            index = Index(named_file(self.path, entry["waiting"]["index"]))
        rows = index.read(partition, "train", (*names, "hash"))
        lineage = self.content["lineage"]
        held: dict[str, NDArray[Any]] = {}
        expected, digest = entry["specialist"], _digest(rows, lineage)
        if "continued" in entry:
            expected = index.partitions[partition]["digests"]["train"]
        if self.content.get("stops_early"):
            held = choosing_rows(index.read(partition, "validation", (*names, "key", "hash", UNIT)))
            if "continued" not in entry:
                digest = specialist_digest(digest, _digest(held, lineage))
        self.rows_read += 0 if index is self else index.rows_read
        if digest != expected:
            raise DataError(
                f"{self.path}: the rows of partition {partition} have digest {digest}, not "
                f"{expected}; a row store was changed after the index was made: "
                f"remove {index.path.parent} and run the workflow again"
            )
        if "continued" in entry:
            rows = link_rows(index, partition, rows)
        return rows, held

    def read(self, partition: int, fold: str, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
        """Arrays of one partition's rows of one fold, in canonical order (by row hash).

        Units are left out where rows do not belong together; no rows, no arrays.

        Args:
            partition: Number of the partition.
            fold: Name of a fold, or what :func:`shoal.partitions.index.asked_name` makes of it.
            names: Names of the arrays.
        """
        parts: dict[str, list[NDArray[Any]]] = {}
        by_store = itertools.groupby(self.places(partition, fold), lambda place: place[0])
        for path, places in by_store:
            runs = [(start, stop) for _, start, stop in places]
            with ShardRows(path) as store:
                for name in store.names(dict.fromkeys((*names, "hash"))):
                    parts.setdefault(name, []).extend(_read_runs(store, name, runs))
                self.rows_read += store.rows_read["hash"]
        if not parts:
            return {}
        # Of what is joined or put in order, one array at a time is there twice.
        arrays = {name: np.concatenate(parts.pop(name)) for name in list(parts)}
        order = row_order(arrays["hash"])
        return {name: arrays.pop(name)[order] for name in list(arrays)}

    def gather(
        self, partitions: Sequence[int], fold: str, names: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        """Arrays of several partitions' rows of one fold, one partition after the other."""
        wanted = tuple(names)
        parts = [rows for number in partitions if (rows := self.read(number, fold, wanted))]
        there = [name for name in names if parts and name in parts[0]]
        return {name: np.concatenate([part[name] for part in parts]) for name in there}

    def everywhere(self, fold: str, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Arrays of all rows of a fold, those of no partition first, then by partition."""
        return self.gather([UNASSIGNED, *range(len(self.partitions))], fold, names)


def _read_runs(
    store: ShardRows, name: str, runs: Iterable[tuple[int, int]]
) -> Iterator[NDArray[Any]]:
    """Runs of rows of a store, ascending; no chunk is read twice."""
    together: list[list[tuple[int, int]]] = []
    for start, stop in runs:
        if together and start // CHUNK_ROWS <= (together[-1][-1][1] - 1) // CHUNK_ROWS:
            together[-1].append((start, stop))
        else:
            together.append([(start, stop)])
    for near in together:
        first = near[0][0]
        rows = store.read(name, first, near[-1][1])
        yield from (rows[start - first : stop - first] for start, stop in near)


def halves(rows: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
    """Which half of validation each row is in: 0 chooses grid points and ends trainings, 1 fits.

    Rows of a unit are in the same half.

    Args:
        rows: ``key``, and ``unit`` where rows belong together: :func:`shoal.formats.units.coin`
    """
    return coin(rows, 0)


def choosing_rows(rows: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Validation rows of the half that chooses grid points and ends trainings.

    Args:
        rows: As :func:`halves` takes them, with other arrays; or nothing.
    """
    first = halves(rows) == 0 if rows else None
    return {name: array[first] for name, array in rows.items()}


def training_rows(
    index: Index, digest: str
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """``x`` and ``y`` of the rows that a specialist is made from.

    Returns:
        Training rows of classes that the generation knows, and the validation rows that say when
        to stop: see :meth:`Index.specialist_rows`.

    Raises:
        DataError: No partition has them, or a row store was changed.
    """
    rows, held = index.specialist_rows(index.partition_with(digest), ("x", "y"))
    known = known_labels(rows["y"])
    held = {name: held[name] for name in ("x", "y") if held}
    return {name: rows.pop(name)[known] for name in ("x", "y")}, held


def _digest(rows: Mapping[str, NDArray[Any]], lineage: str) -> str:
    """Digest of rows; of none where there are no arrays."""
    hashes = rows.get("hash", np.empty((0, ROW_HASH_BYTES), np.uint8))
    return multiset_digest(multiset_sum(hashes), len(hashes), lineage)
