"""Kinds of what the partition index consists of, see :mod:`shoal.cluster.index`."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict

from shoal.documents.ledger import Artifact

Members = dict[str, list[list[Any]]]
"""Where a partition's rows lie, by fold: shard, first row, row after the last."""


class Waiting(TypedDict):
    """Why a partition keeps a specialist of other rows."""

    index: str
    added: int
    removed: int
    share: float


class Entry(TypedDict):
    """A partition."""

    partition: int
    rows: dict[str, int]
    digests: dict[str, str]
    trained: bool
    specialist: str
    waiting: NotRequired[Waiting]


class PartitionIndex(Artifact):
    """``index.json``."""

    partitions: list[Entry]
    root: dict[str, str]
    rows: dict[str, int]
    untrained_rows: dict[str, int]
    unknown_labels: int
    stores: str


class Group(TypedDict):
    """A shard's rows of one partition and fold."""

    partition: int
    fold: str
    rows: int
    sum: str
    start: int
    stop: int


class Summary(Artifact):
    """Counts of a shard, which ``assign`` writes."""

    shard: str
    groups: list[Group]
    unknown_labels: int
