"""The generalist continues as specialists do, on the new rows of all partitions together.

The first one was trained with the generation. Since fits of a generation may have seen rows that
were removed since, that one may always be continued from; any other only where its rows are all
still there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from shoal.errors import SourceError
from shoal.formats.documents.index import name_of_file, named_file, trainings_of
from shoal.formats.hashing import ROW_HASH_BYTES, multiset_change, rows_id
from shoal.formats.kinds import TRAIN
from shoal.formats.row_store import ShardRows
from shoal.partitions.continuing import renamed, start_at_copy
from shoal.partitions.index import UNASSIGNED, roots
from shoal.partitions.reader import Index
from shoal_edge.routing import GENERALIST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.formats.documents.index import Generalist, PartitionIndex
    from shoal.partitions.continuing import Deployed
    from shoal.settings.running import Continuing

    Stores = Mapping[str, Path]
    """Row stores by shard."""

GENERATION = "generation"
"""Name of the generalist that was trained with the generation."""


@dataclass(frozen=True)
class OfGeneration:
    """The generalist that was trained with the generation.

    Attributes:
        stores: Row stores of the shards that it was trained on.
        weights: Gives the weights of a generalist by its name, from the model store if they are
            gone and it has them.
        spent: Gives the FLOPs that its making took.
        made_of: Identity of what trains: settings, code, threads.
    """

    stores: Stores
    weights: Callable[[str], Path]
    spent: Callable[[str], float]
    made_of: str


class _Start(NamedTuple):
    """What is deployed of a model: file, the copy's identity, FLOPs of the model's making."""

    weights: Path
    copy: str
    spent: float


@dataclass(frozen=True)
class _Ancestor:
    """A generalist that may be continued from.

    ``index`` is the one that has its rows; ``deployed`` what is deployed of it, if it starts there.
    """

    name: str
    stores: Stores
    index: Path | None
    links: int
    continued: Generalist | None
    deployed: _Start | None


def continue_generalist(
    index: Mapping[str, Any],
    path: Path,
    before_path: Path | None,
    first: OfGeneration,
    asked: Continuing,
    trainings: float,
    deployed: Deployed | None = None,
) -> dict[str, Any]:
    """The index with the generalist that continues; without, while it is the generation's.

    Args:
        index: The index.
        path: Where it will lie; its ``members/`` are there already.
        before_path: The published index, if there is one of the same assigner and code.
        first: The generation's generalist.
        asked: The settings.
        trainings: Whole trainings of a partition's search.
        deployed: What the generalist starts from in place of its trained weights.

    Returns:
        The index; ``continued`` says what its generalist continues from.
    """
    now = stores_of(Index(path, cast("PartitionIndex", index)))
    rows, continued = index["rows"]["train"], None
    rows_now = [index["root"]["train"], *_stops_by(index)]
    for each in _ancestors(before_path, first, deployed):
        try:
            added, removed = _changes(each.stores, now)
        except SourceError:
            continue
        if removed and each.name != GENERATION:
            continue
        if not added:
            if each.continued is not None and each.index is not None:
                continued = renamed(each.continued, each.index, path)
            break
        drawn = min(rows - added, math.floor(asked.history * added))
        start = each.deployed
        copy = start_at_copy(start.copy if start else "", deployed)
        is_less = (added + drawn) * trainings_of(copy) < rows * trainings
        if each.links < asked.longest and is_less:
            mixing, weights = asked.mixing.as_json(), start.weights if start else None
            continued = {
                "link": rows_id(each.name, rows_now, mixing, first.made_of, *copy.values()),
                "index": "" if each.index is None else name_of_file(path, each.index),
                "specialist": each.name,
                "weights": name_of_file(path, weights or first.weights(each.name)),
                **copy,
                "added": added,
                "drawn": drawn,
                "links": each.links + 1,
                "spent": first.spent(each.name) if start is None else start.spent,
                "mixing": mixing,
            }
            break
        continued = _from_base(rows, rows_now, first, asked)
        break
    else:
        continued = _from_base(rows, rows_now, first, asked)
    if continued is None:
        return dict(index)
    found = {**index, "continued": continued}
    return found | {"root": roots(found)}


def _from_base(
    rows: int, rows_now: list[object], first: OfGeneration, asked: Continuing
) -> dict[str, Any]:
    return {
        "link": rows_id("base", rows_now, first.made_of),
        "index": "",
        "specialist": "",
        "weights": "",
        "added": rows,
        "drawn": 0,
        "links": 0,
        "spent": 0.0,
        "mixing": asked.mixing.as_json(),
    }


def _stops_by(index: Mapping[str, Any]) -> list[str]:
    """Digests of the rows that say when a training stops."""
    if not index.get("stops_early"):
        return []
    return [entry["digests"]["validation"] for entry in index["partitions"]]


def _ancestors(
    before_path: Path | None, first: OfGeneration, deployed: Deployed | None
) -> Iterator[_Ancestor]:
    """The generalist of an index, what it continues from, and so on; those that are there."""
    path, child = before_path, None

    def start(name: str) -> _Start | None:
        """What is deployed of it: by the last copy, or by that from which it was continued."""
        if child is not None:
            index, continued = child
            if continued["specialist"] != name or "copy" not in continued:
                return None
            weights = named_file(index, continued["weights"])
            there = weights.exists()
            return _Start(weights, continued["copy"], continued["spent"]) if there else None
        if deployed is None or not (trained := first.weights(name)).exists():
            return None
        found = deployed.of(GENERALIST, trained)
        return None if found is None else _Start(found, deployed.copy, first.spent(name))

    while path is not None and path.exists():
        before = Index(path)
        own = before.content.get("continued")
        if own is None:
            break
        of_copy = start(own["link"])
        if of_copy is not None or first.weights(own["link"]).exists():
            yield _Ancestor(own["link"], stores_of(before), path, own["links"], own, of_copy)
        if not own["weights"]:
            return
        child = path, own
        path = named_file(path, own["index"]) if own["index"] else None
    yield _Ancestor(GENERATION, first.stores, None, 0, None, start(GENERATION))


def parent_of(path: Path, continued: Generalist, first: OfGeneration) -> Path:
    """Weights that a generalist starts from: deployed ones, or trained ones, put back if gone.

    Args:
        path: The index whose generalist it is.
        continued: What the index says of it.
        first: The generation's generalist.
    """
    if "copy" in continued:
        return named_file(path, continued["weights"])
    return first.weights(continued["specialist"])


def stores_of(index: Index) -> dict[str, Path]:
    """The row store of each shard that has rows of an index."""
    numbers = [UNASSIGNED, *range(len(index.partitions))]
    shards = {
        shard for n in numbers for ranges in index.members(n).values() for shard, *_ in ranges
    }
    return {shard: index.store(shard) for shard in sorted(shards)}


def _changes(before: Stores, now: Stores) -> tuple[int, int]:
    """Training rows added and removed; shards that are in both are not read.

    Raises:
        SourceError: Rows of a shard before are gone.
    """
    old = [path for shard, path in before.items() if shard not in now]
    new = [path for shard, path in now.items() if shard not in before]
    return multiset_change(training_hashes(old), training_hashes(new))


def training_hashes(stores: Iterable[Path]) -> NDArray[np.uint8]:
    """Hashes of the training rows of row stores, uint8 ``(rows, ROW_HASH_BYTES)``."""
    parts = [np.empty((0, ROW_HASH_BYTES), dtype=np.uint8)]
    for path in stores:
        with ShardRows(path) as store:
            parts.append(store.read("hash")[store.read("fold") == TRAIN])
    return np.concatenate(parts)


def seen_by(path: Path, first: OfGeneration) -> Iterator[NDArray[np.uint8]]:
    """Hashes of the training rows of what an index's generalist continues from, the nearest first.

    Args:
        path: The index; its generalist continues.
        first: The generation's generalist.
    """
    continued = Index(path).content["continued"]
    while continued["weights"]:
        if continued["specialist"] == GENERATION:
            yield training_hashes(first.stores.values())
            return
        path = named_file(path, continued["index"])
        before = Index(path)
        yield training_hashes(stores_of(before).values())
        continued = before.content["continued"]
