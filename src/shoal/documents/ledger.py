"""Kinds of what :class:`shoal.ledger.Ledger` writes."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict


class MadeFrom(TypedDict):
    """Hashes of the files that an artifact was made from, by path; the code's digest of a fit."""

    files: dict[str, str]
    code: NotRequired[str]


class Artifact(TypedDict):
    """Any document: those that a stage wrote say what they were made from."""

    made_from: NotRequired[MadeFrom]


class LedgerRecord(Artifact):
    """What a job cost."""

    job: str
    rows_seen: int
    rows_read: int
    flops: float
    seconds: float
    detail: dict[str, float]
    learning_curves: NotRequired[list[list[list[float]]]]
    peak_memory_bytes: int
    peak_gpu_memory_bytes: int
    device: dict[str, Any]
    host: str
    versions: dict[str, str]
