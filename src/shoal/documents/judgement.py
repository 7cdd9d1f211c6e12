"""Kinds of what is said of a pool: gate, test rows, leaks, drift."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict

from shoal.documents.ledger import Artifact


class Comparison(TypedDict):
    """A specialist against the generalist."""

    expert: int
    rows: int
    units: NotRequired[int]
    difference: float
    estimate: float
    error: float
    serves: bool


class GateRecord(Artifact):
    """Result of ``gate``."""

    closed: list[int]
    validation: dict[str, float]
    rows: int
    units: NotRequired[int]
    least_units: NotRequired[int]
    comparisons: list[Comparison]


class Worst(TypedDict):
    """The partition in which a contender is worst."""

    partition: int
    score: float


class Scores(TypedDict):
    """A contender on the test rows."""

    score: float
    log_loss: float | None
    calibration_error: float | None
    worst_partition: Worst | None
    train_flops: float
    inference_flops_per_row: float


class Metrics(Artifact):
    """``metrics.json``."""

    metric: str
    verdict: str
    sentence: str
    rows: dict[str, int]
    partitions: int
    pool_top1: Scores
    pool_top2: Scores
    ungated: Scores
    generalist: Scores
    random_partitions: Scores
    constant: Scores
    control: dict[str, Any] | None
    leaks: dict[str, Any]
    incomplete: list[dict[str, Any]]
    gate: dict[str, Any]
    units: NotRequired[dict[str, Any]]


class Check(Artifact):
    """Result of ``split-check``."""

    leaks: dict[str, Any]
    spellings: list[dict[str, Any]]


class Advice(TypedDict):
    """The recommendation of a drift report."""

    action: str
    partitions: list[int]
    reason: str


class DriftReport(Artifact):
    """``drift.json``."""

    overall: dict[str, Any]
    partitions: list[dict[str, Any]]
    recommendation: Advice
