"""The partition index: small summaries of shards merged into digests, without reading rows."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from shoal.formats.hashing import ROW_HASH_BYTES, json_hash, multiset_digest, rows_id
from shoal.formats.kinds import FOLDS
from shoal.partitions.grouping import ASKED_FOLDS, FOLD_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Summary = Mapping[str, Any]
    Members = dict[int, dict[str, list[list[Any]]]]

VERSION = 3
UNASSIGNED = -1
"""Partition of rows that belong to none: the base serves them."""

_CHOOSING = "choosing"

_MODULUS = 1 << (8 * ROW_HASH_BYTES)


def merge_summaries(
    summaries: Iterable[Summary],
    partitions: int,
    min_rows: int,
    lineage: str,
    *,
    stops_early: bool = False,
) -> tuple[dict[str, Any], Members]:
    """The index, and where each partition's rows lie.

    Independent of the order of the summaries and, members aside, of how rows are cut into shards.

    Args:
        summaries: What ``assign`` wrote for each shard.
        partitions: Number of partitions of the assigner.
        min_rows: Training rows below which a partition gets no specialist.
        lineage: Identity of all that was fitted and that training depends on.
        stops_early: Whether the choosing half of validation rows says when a training stops, so
            that specialists are made from it too.

    Returns:
        The index as JSON, and for each partition (-1: no partition) and fold a list of
        ``[shard, start, stop]``, sorted; so also for the rows elsewhere that it is the runner-up
        of, see :func:`asked_name`. Each partition's ``ask`` is a digest of all these rows.
    """
    unknown = 0
    sums: dict[tuple[int, str], int] = defaultdict(int)
    rows: dict[tuple[int, str], int] = defaultdict(int)
    numbers = [UNASSIGNED, *range(partitions)]
    names = (*FOLD_NAMES, *map(asked_name, ASKED_FOLDS))
    members: Members = {p: {name: [] for name in names} for p in numbers}
    for summary in summaries:
        unknown += summary["unknown_labels"]
        for group in summary["groups"]:
            place = (group["partition"], group["fold"])
            sums[place] += int(group["sum"], 16)
            rows[place] += group["rows"]
            where = [summary["shard"], group["start"], group["stop"]]
            members[place[0]][place[1]].append(where)
        for group in summary["asked"]:
            place = (group["partition"], asked_name(group["fold"]))
            sums[place] += int(group["sum"], 16)
            rows[place] += group["rows"]
            members[place[0]][place[1]] += [[summary["shard"], *run] for run in group["places"]]
        for group in summary["choosing"] if stops_early else ():
            place = (group["partition"], _CHOOSING)
            sums[place] += int(group["sum"], 16)
            rows[place] += group["rows"]
    for folds in members.values():
        for ranges in folds.values():
            ranges.sort()
    digests = {
        (p, name): multiset_digest(sums[p, name] % _MODULUS, rows[p, name], lineage)
        for p in numbers
        for name in (*names, _CHOOSING)
    }
    asks = {p: rows_id([digests[p, name] for name in names]) for p in numbers}
    entries = [
        {
            "partition": p,
            "rows": {fold: rows[p, fold] for fold in FOLDS},
            "digests": {fold: digests[p, fold] for fold in FOLDS},
            "trained": rows[p, "train"] >= min_rows,
            "specialist": specialist_digest(digests[p, "train"], digests[p, _CHOOSING])
            if stops_early
            else digests[p, "train"],
            "ask": asks[p],
        }
        for p in range(partitions)
    ]
    outside_sum = sum(sums[p, "outside"] for p in numbers) % _MODULUS
    outside = sum(rows[p, "outside"] for p in numbers)
    index = {
        "version": VERSION,
        "lineage": lineage,
        "rows": {fold: sum(rows[p, fold] for p in numbers) for fold in FOLD_NAMES},
        "partitions": entries,
        "root": {},
        "outside": {"rows": outside, "digest": multiset_digest(outside_sum, outside, lineage)},
        "untrained_rows": {fold: rows[UNASSIGNED, fold] for fold in FOLDS},
        "unknown_labels": unknown,
        "unassigned": {fold: digests[UNASSIGNED, fold] for fold in FOLDS}
        | {"ask": asks[UNASSIGNED] if any(rows[UNASSIGNED, name] for name in names) else None},
    }
    if stops_early:
        index["stops_early"] = True
    index["root"] = roots(index)
    return index, members


def specialist_digest(train: str, choosing: str) -> str:
    """Digest of the rows that a specialist is made from where trainings stop early.

    Args:
        train: Digest of its training rows.
        choosing: Digest of the choosing half of its validation rows.
    """
    return rows_id(train, choosing)


def asked_name(fold: str) -> str:
    """Name, among the members of a partition, of a fold's rows elsewhere whose runner-up it is."""
    return f"asked {fold}"


def roots(index: Mapping[str, Any]) -> dict[str, str]:
    """Digests over digests, the roots of the tree.

    ``train`` covers the training rows; ``fit`` what specialists and router are made from: rows
    that the specialists are made from (see :mod:`shoal.partitions.tolerance`) and validation rows,
    and the generalist where that continues;
    ``all`` covers these and every row there is.
    """
    entries = index["partitions"]
    folds = [{**entry["digests"], "specialist": entry["specialist"]} for entry in entries]
    folds.append({**index["unassigned"], "specialist": index["unassigned"]["train"]})

    continued = index.get("continued")

    def root(*names: str) -> str:
        covered: list[Any] = [[each[name] for each in folds] for name in names]
        if "specialist" in names and continued is not None:
            covered.append(continued["link"])
        if "test" in names:
            covered.append(index["outside"]["digest"])
        return json_hash(covered)[:24]

    return {
        "train": root("train"),
        "fit": root("specialist", "validation"),
        "all": root("specialist", *FOLDS),
    }
