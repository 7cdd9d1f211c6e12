"""Kinds of what is known of a release over time: scores of rows that arrived, cost, drift."""

from __future__ import annotations

from typing import NotRequired

from typing_extensions import TypedDict

from shoal.formats.documents.judgement import Difference, Ends
from shoal.formats.documents.ledger import Artifact
from shoal.formats.kinds import Metric


class ArrivedScores(TypedDict):
    """Scores of some rows that arrived; None where these do not define them."""

    rows: int
    score: float | None
    generalist: float | None


class ArrivedPartition(ArrivedScores):
    """The same of those in a partition of the pool that is scored; -1 are those in none."""

    partition: int


class PrequentialScores(ArrivedScores):
    """How the pool of the release before does on rows that arrived, before any model saw them.

    Attributes:
        metric: The score.
        units: Units of the rows.
        unknown_labels: Rows of classes that the generation does not know.
        interval: Of the pool's score.
        difference: The pool's score minus the generalist's; None without that.
        partitions: Scores by partition.
        running: Scores of as many rows each, in the order in which they arrived.
    """

    metric: Metric
    units: int
    unknown_labels: int
    interval: Ends
    difference: Difference | None
    partitions: list[ArrivedPartition]
    running: list[ArrivedScores]


class Prequential(Artifact):
    """Result of ``evaluate-prequential``.

    Attributes:
        previous: The release whose pool is scored.
        arrived: How many rows have arrived since.
        scores: Of the rows; None where they are not scored.
        reason: Why they are not.
    """

    previous: str
    arrived: int
    scores: PrequentialScores | None
    reason: str | None


class Made(TypedDict):
    """What a run made of a release anew.

    Attributes:
        flops: FLOPs of making the pool and its generalist, as far as no earlier release had it.
        partitions: Partitions of the index.
        specialists: Specialists of the index.
        trained: How many of them were trained from the base.
        continued: How many went on from an earlier one.
        waiting: How many wait for changes to add up.
        history: Rows of history for each new row, where mixes were compared.
    """

    flops: float
    partitions: int
    specialists: int
    trained: int
    continued: int
    waiting: int
    history: NotRequired[float]


class OverTime(TypedDict):
    """Part of a release's record: a line of the page over time.

    Attributes:
        arrivals: Scores of the rows that arrived; not there where no job looked for them.
        reason: Why they are not scored; None where they are.
        made: What the run made.
        action: Recommendation of the drift report.
        drift: P-value of rows that arrived and those before being alike; None without a test.
        beyond: Share of the rows that arrived which the assigner does not cover; the same.
    """

    arrivals: NotRequired[Prequential]
    reason: str | None
    made: Made
    action: str
    drift: float | None
    beyond: float | None
