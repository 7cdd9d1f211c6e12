"""Kinds of the documents of the partition index, see :mod:`shoal.partitions.index`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NotRequired

from typing_extensions import ReadOnly, TypedDict

from shoal.formats.documents.choice import Point
from shoal.formats.documents.ledger import Artifact
from shoal.formats.documents.mixes import Mixes

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


class Continued(TypedDict):
    """What a model continues from. Paths are relative to the folder of the index.

    Attributes:
        index: File of the index in which the rows of that model were those of a partition, or all.
        specialist: Name of that model, as an index has it.
        weights: Its weights; empty where the model is trained from the base on all rows.
        copy: Identity of the copy whose weights of it these are, where they are those deployed.
        moves: Share of the weights that moves, where it is trained a second time with all others as
            deployed.
        point: Its grid point; that of a generalist is known by its weights.
        added: Rows that are new.
        drawn: Rows that are drawn from those that it has seen.
        links: How many times it was continued since it was trained from the base.
        spent: FLOPs that the making of that model took, searches included.
        mixing: The :class:`shoal.settings.running.Mixing` by which.
    """

    index: str
    specialist: str
    weights: str
    copy: NotRequired[str]
    moves: NotRequired[float]
    point: NotRequired[Point]
    added: int
    drawn: int
    links: int
    spent: float
    mixing: dict[str, Any]


class Rewound(TypedDict):
    """Rows removed that the last specialist had seen, and links of the one that is gone back to."""

    removed: int
    links: int


class PartitionEntry(TypedDict):
    """A partition of the index; ``specialist`` is a digest of the rows that one is made from.

    Those are its training rows and, where trainings stop early, the choosing half of its
    validation rows. Where it continues, ``specialist`` names a link: see
    :mod:`shoal.partitions.continuing`; ``rewound`` is there where that is not from the last one,
    and ``cold`` says why it is trained from the base.
    """

    partition: int
    rows: Counts
    digests: Digests
    trained: bool
    specialist: str
    ask: NotRequired[str]
    waiting: NotRequired[Waiting]
    continued: NotRequired[Continued]
    rewound: NotRequired[Rewound]
    cold: NotRequired[str]


class Unassigned(Digests):
    """Digests of rows of no partition; ``ask`` is None where there are none."""

    ask: str | None


class Generalist(Continued):
    """A generalist that continues: ``link`` is its name."""

    link: str


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
    mixes: NotRequired[Mixes]
    continued: NotRequired[Generalist]


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
    continued: ReadOnly[NotRequired[Continued]]
    rewound: ReadOnly[NotRequired[Rewound]]
    cold: ReadOnly[NotRequired[str]]


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
    mixes: ReadOnly[NotRequired[Mixes]]
    continued: ReadOnly[NotRequired[Generalist]]


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


def named_file(path: Path, name: str) -> Path:
    """A file that an index names, such as the one in which a specialist's rows were its own.

    Args:
        path: The index's file; names in it are relative to its folder, so that a results folder
            may have another name later.
        name: What it says.
    """
    return Path(os.path.normpath(path.parent / name))


def name_of_file(path: Path, file: Path) -> str:
    """How an index names a file; see :func:`named_file`.

    Args:
        path: The index's file.
        file: The file.
    """
    return os.path.relpath(file, path.parent)


def trainings_of(continued: Mapping[str, Any]) -> int:
    """How many trainings make a model that continues: two where a share of its weights moves.

    Args:
        continued: What an index says of it.
    """
    return 2 if "moves" in continued else 1
