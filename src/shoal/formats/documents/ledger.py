"""Kinds of the documents of :class:`shoal.formats.ledger.Ledger`."""

from __future__ import annotations

from typing import NotRequired

from typing_extensions import TypedDict


class MadeFrom(TypedDict):
    """Hashes of the files that an artifact was made from, by path; the code's digest of a fit."""

    files: dict[str, str]
    code: NotRequired[str]


class Artifact(TypedDict):
    """Any document: those of stages name the files that they were made from."""

    made_from: NotRequired[MadeFrom]


class Flops(Artifact):
    """FLOPs that a job computed, and those that trainings which stopped early left over."""

    flops: float
    unspent: NotRequired[float]
    detail: NotRequired[dict[str, float]]


class JobFlops(Flops):
    """FLOPs of a job, with its rule; and seconds and rows, where it is of a training."""

    job: str
    rows_seen: NotRequired[int]
    seconds: NotRequired[float]


class Spent(Flops):
    """Seconds and FLOPs of a job, for estimates."""

    rows_seen: int
    seconds: float


class Training(Spent):
    """Time and memory that the training of a specialist took, from which the next ones ask."""

    rows_read: int
    peak_memory_bytes: int
    peak_gpu_memory_bytes: int


class Device(TypedDict):
    """Where a job ran; GPUs have a name."""

    kind: str
    name: NotRequired[str]
    threads: int


class LedgerRecord(Training):
    """All that a job cost, and where it ran."""

    job: str
    device: Device
    host: str
    versions: dict[str, str]
    learning_curves: NotRequired[list[list[list[float]]]]
    facts: NotRequired[dict[str, float]]


class RowShape(TypedDict):
    """Part of ``shapes.json`` that tells a row's size."""

    x_shape: list[int]
    tokens: NotRequired[int | None]
