"""Kinds of what is said of a pool: gate, test rows, leaks, drift."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from shoal.formats.documents.index import Counts
from shoal.formats.documents.ledger import Artifact


class Comparison(TypedDict):
    """A specialist against the generalist."""

    expert: int
    rows: int
    units: NotRequired[int]
    difference: float
    estimate: float
    error: float
    serves: bool


class PoolMean(TypedDict):
    """Mean scores of contenders, of which the pool's is read."""

    pool: float


class GateRecord(Artifact):
    """Result of ``gate``."""

    closed: list[int]
    validation: PoolMean
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


class HeldRows(Counts):
    """Rows by fold, and those that are kept out of every fold."""

    outside: NotRequired[int]


class GateSummary(TypedDict):
    """How many specialists serve, and on how many units they were compared."""

    specialists: int
    serving: int
    units: NotRequired[int]
    least_units: NotRequired[int]
    kind: NotRequired[str | None]


class Difference(TypedDict):
    """Of pool and generalist, with its interval."""

    value: float
    low: float | None
    high: float | None


class TestUnits(TypedDict):
    """What the test rows consist of, where they belong together, and how many those are."""

    kind: str | None
    test: int


class Metrics(Artifact):
    """``metrics.json``."""

    metric: str
    verdict: str
    sentence: str
    rows: HeldRows
    difference: Difference
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
    gate: GateSummary
    units: NotRequired[TestUnits]


class Check(Artifact):
    """Result of ``split-check``."""

    leaks: dict[str, Any]
    spellings: list[dict[str, Any]]


class Advice(TypedDict):
    """The recommendation of a drift report."""

    action: Literal["keep", "retrain", "refit"]
    partitions: list[int]
    reason: str


class Drift(TypedDict):
    """How far rows that arrived differ from those before."""

    arrived: int
    gone: int
    rows_before: int
    beyond_before: float | None
    beyond_after: float | None
    accuracy: float | None
    p_value: float | None
    loss_before: NotRequired[float | None]
    loss_after: NotRequired[float | None]


class PartitionDrift(Drift):
    """The same of a partition."""

    partition: int


class DriftReport(Artifact):
    """``drift.json``."""

    overall: Drift
    partitions: list[PartitionDrift]
    recommendation: Advice
