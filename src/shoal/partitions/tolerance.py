"""Partitions that wait: small changes may leave a specialist as it is until they add up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from shoal.formats.documents.index import name_of_file, named_file
from shoal.formats.hashing import ROW_HASH_BYTES, multiset_change
from shoal.formats.row_store import ShardRows
from shoal.partitions.index import roots
from shoal.partitions.reader import Index

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.formats.documents.index import PartitionEntry, PartitionIndex
    from shoal.formats.kinds import Fold


def wait(
    index: Mapping[str, Any],
    path: Path,
    before_path: Path,
    share: float,
    released: Collection[int],
) -> dict[str, Any]:
    """The index with changed partitions waiting where no more than ``share`` of them changed.

    A waiting partition keeps the specialist that it has. Its rows are compared with those that
    this specialist was trained on, however many indexes ago, so changes add up.

    Args:
        index: The index, in which no partition waits.
        path: Where it will lie; its ``members/`` are there already.
        before_path: The published index of the same assigner.
        share: Changed rows over rows of the specialist, above which it is trained again. A row
            that came and one that went are one changed row. Where trainings stop early, its rows
            are those of both training and validation fold.
        released: Partitions that do not wait.

    Returns:
        The index. A partition that waits has the ``specialist`` it had, and ``waiting``: the
        ``index`` in which its rows were these, rows ``added`` and ``removed`` since, ``share``.
    """
    now, before = Index(path, cast("PartitionIndex", index)), Index(before_path)
    held = {int(entry["partition"]): entry for entry in before.trained}
    entries = []
    for entry in index["partitions"]:
        number = int(entry["partition"])
        old = held.get(number)
        changed = old is not None and old["specialist"] != entry["specialist"]
        if old is not None and changed and entry["trained"] and number not in released:
            entry = _waiting(entry, old, now, before, share)  # noqa: PLW2901 - the same entry
        entries.append(entry)
    waiting = {**index, "partitions": entries}
    return waiting | {"root": roots(waiting)}


def _waiting(
    entry: dict[str, Any], old: PartitionEntry, now: Index, before: Index, share: float
) -> dict[str, Any]:
    number = int(entry["partition"])
    since = named_file(before.path, old["waiting"]["index"]) if "waiting" in old else before.path
    trained_on = Index(since)
    folds: tuple[Fold, ...] = (
        ("train", "validation") if now.content.get("stops_early") else ("train",)
    )
    changes = [row_changes(trained_on, now, number, fold) for fold in folds]
    added, removed = (sum(counts) for counts in zip(*changes, strict=True))
    rows = sum(trained_on.partitions[number]["rows"][fold] for fold in folds)
    changed = max(added, removed) / rows
    if changed > share:
        return entry
    place = name_of_file(now.path, since)
    waiting = {"index": place, "added": added, "removed": removed, "share": round(changed, 6)}
    return {**entry, "specialist": old["specialist"], "waiting": waiting}


def row_changes(before: Index, after: Index, partition: int, fold: str) -> tuple[int, int]:
    """Rows added to and removed from one fold of a partition; reads what is not in both only.

    Raises:
        SourceError: A row store of ``before`` is no longer there.
    """
    old, new = set(before.places(partition, fold)), set(after.places(partition, fold))
    return multiset_change(_hashes(old - new), _hashes(new - old))


def _hashes(places: Collection[tuple[Path, int, int]]) -> NDArray[np.uint8]:
    parts = [np.empty((0, ROW_HASH_BYTES), dtype=np.uint8)]
    for path, start, stop in sorted(places):
        with ShardRows(path) as store:
            parts.append(store.read("hash", start, stop))
    return np.concatenate(parts)
