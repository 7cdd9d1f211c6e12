"""Kinds of the documents of the partition index, see :mod:`shoal.partitions.index`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NotRequired

from typing_extensions import ReadOnly, TypedDict

from shoal.formats.documents.ledger import Artifact

Members = dict[str, list[list[Any]]]
"""Where a partition's rows lie, by fold: shard, first row, row after the last.

So also, under ``asked validation`` and ``asked test``, rows elsewhere whose runner-up it is.
"""


class Counts(TypedDict):
    """Rows by fold."""

    train: int
    validation: int
    test: int


class HeldRows(Counts):
    """Rows by fold, and those outside every fold."""

    outside: NotRequired[int]


class Digests(TypedDict):
    """Digests of rows by fold."""

    train: str
    validation: str
    test: str


class Roots(TypedDict):
    """Digests over all partitions: of all rows, of those that fits see, of training rows."""

    all: str
    fit: str
    train: str


class Waiting(TypedDict):
    """Why a partition keeps a specialist of other rows; ``index`` is the file that has them."""

    index: str
    added: int
    removed: int
    share: float


class PartitionEntry(TypedDict):
    """A partition of the index; ``specialist`` is a digest of the rows that one is made from.

    Those are its training rows and, where trainings stop early, the choosing half of its
    validation rows.
    """

    partition: int
    rows: Counts
    digests: Digests
    trained: bool
    specialist: str
    ask: NotRequired[str]
    waiting: NotRequired[Waiting]


class Unassigned(Digests):
    """Digests of rows of no partition; ``ask`` is None where there are none."""

    ask: str | None


class PartitionIndex(Artifact):
    """``index.json``."""

    partitions: list[PartitionEntry]
    root: Roots
    rows: HeldRows
    untrained_rows: Counts
    unknown_labels: int
    stores: str
    stops_early: NotRequired[bool]
    unassigned: NotRequired[Unassigned]
    lineage: NotRequired[str]


class PlannedDigests(TypedDict):
    """Digests of the rows that a partition's jobs are about; of test rows where these are known."""

    train: ReadOnly[str]
    validation: ReadOnly[str]
    test: ReadOnly[NotRequired[str]]


class PlannedEntry(TypedDict):
    """A partition of an index, or one that there may be, of which no rows are known."""

    partition: ReadOnly[int]
    digests: ReadOnly[PlannedDigests]
    trained: ReadOnly[bool]
    specialist: ReadOnly[str]
    ask: ReadOnly[NotRequired[str]]
    rows: ReadOnly[NotRequired[Counts]]
    waiting: ReadOnly[NotRequired[Waiting]]


class PlannedRoots(TypedDict):
    """Digests over all partitions that are part of paths."""

    all: ReadOnly[str]
    fit: ReadOnly[str]


class PlannedIndex(TypedDict):
    """A :class:`PartitionIndex`, or what takes its place where there is none yet."""

    partitions: ReadOnly[Sequence[PlannedEntry]]
    root: ReadOnly[NotRequired[PlannedRoots]]
    rows: ReadOnly[NotRequired[HeldRows]]
    unknown_labels: ReadOnly[NotRequired[int]]
    unassigned: ReadOnly[NotRequired[Unassigned]]


class Group(TypedDict):
    """A shard's rows of one partition and fold."""

    partition: int
    fold: str
    rows: int
    sum: str
    start: int
    stop: int


class AskedRows(TypedDict):
    """A shard's rows of one fold that have one runner-up, ``partition``."""

    partition: int
    fold: str
    rows: int
    sum: str
    places: list[list[int]]


class ChoosingRows(TypedDict):
    """A shard's validation rows of one partition by which grid points are chosen."""

    partition: int
    rows: int
    sum: str


class Summary(Artifact):
    """Counts of a shard, which ``assign`` writes."""

    shard: str
    groups: list[Group]
    asked: list[AskedRows]
    choosing: list[ChoosingRows]
    unknown_labels: int


def waited_for(path: Path, waiting: Waiting) -> Path:
    """The index in which the rows of a waiting partition were those of its specialist.

    Args:
        path: The index's file; paths in it are relative to its folder, so that a results folder
            may have another name later.
        waiting: What it says of the partition.
    """
    return Path(os.path.normpath(path.parent / waiting["index"]))
