"""The rows of one partition, found through the index and read by their ranges alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import DataError
from shoal.files import read_json
from shoal.hashing import row_order
from shoal.store import ShardRows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass
class Index:
    """The partition index and the rows stores beside it.

    Attributes:
        path: ``index.json``; ``rows/`` and ``members/`` lie beside it.
        content: Its JSON.
        rows_read: Rows read from stores through this index, whole chunks counted.
    """

    path: Path
    content: dict[str, Any] = field(init=False)
    rows_read: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.content = read_json(self.path)

    @property
    def partitions(self) -> list[dict[str, Any]]:
        """Entry of each partition, in order of number."""
        entries: list[dict[str, Any]] = self.content["partitions"]
        return entries

    @property
    def trained(self) -> list[dict[str, Any]]:
        """Entries of the partitions that have a specialist."""
        return [entry for entry in self.partitions if entry["trained"]]

    def partition_with(self, train: str, validation: str | None = None) -> int:
        """Number of the partition with this training digest, and validation digest if given.

        Raises:
            DataError: There is none: the index has changed since the job was planned.
        """
        for entry in self.partitions:
            digests = entry["digests"]
            if digests["train"] == train and validation in (None, digests["validation"]):
                return int(entry["partition"])
        raise DataError(
            f"{self.path}: no partition has training digest {train}; the data changed since "
            f"this job was planned, run the workflow again"
        )

    def read(self, partition: int, fold: str, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
        """Arrays of one partition's rows of one fold, in canonical order (by row hash)."""
        members = read_json(self.path.parent / "members" / f"{partition}.json")
        wanted = tuple(dict.fromkeys((*names, "hash")))
        parts: dict[str, list[NDArray[Any]]] = {name: [] for name in wanted}
        for shard, start, stop in members[fold]:
            with ShardRows(self.path.parent / "rows" / f"{shard}.zarr.zip") as store:
                for name in wanted:
                    parts[name].append(store.read(name, start, stop))
                self.rows_read += store.rows_read["hash"]
        if not parts["hash"]:
            return {}
        arrays = {name: np.concatenate(values) for name, values in parts.items()}
        order = row_order(arrays["hash"])
        return {name: array[order] for name, array in arrays.items()}

    def gather(
        self, partitions: Sequence[int], fold: str, names: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        """Arrays of several partitions' rows of one fold, one partition after the other."""
        wanted = tuple(names)
        parts = [rows for number in partitions if (rows := self.read(number, fold, wanted))]
        return {name: np.concatenate([part[name] for part in parts]) for name in names if parts}


def halves(keys: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Which half of validation each row is in: 0 chooses grid points, 1 fits routers and gates."""
    return (keys[:, 0] & 1).astype(np.int64)
