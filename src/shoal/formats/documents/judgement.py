"""Kinds of the documents that judge a pool: gate, evaluation, leaks, drift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from shoal.formats.documents.index import HeldRows
from shoal.formats.documents.ledger import Artifact
from shoal.formats.documents.weights import Share
from shoal.formats.json_file import read_made
from shoal.formats.kinds import Metric

if TYPE_CHECKING:
    from pathlib import Path

Softness = Annotated[float, Field(gt=0)]


class Comparison(TypedDict):
    """A specialist against the generalist: mean gains of it alone, and of its share."""

    expert: int
    rows: int
    units: int
    difference: float
    gain: float
    share: Share


class Test(TypedDict):
    """Test of all rows with the share that is best for all of them."""

    share: Share
    gain: float
    error: float | None
    opens: bool


class ValidationScores(TypedDict):
    """Mean scores of contenders on validation rows that chose nothing else; these are read."""

    pool: float
    generalist: float


class FlopsPerRow(TypedDict):
    """Mean FLOPs of contenders' answers to validation rows."""

    pool: float
    ungated: float
    generalist: float


class BinEdges(TypedDict):
    """Edges of the bins of reports, see :class:`shoal_edge.report.Bins`; empty for what is not."""

    distance: list[float]
    confidence: list[float]
    prediction: list[float]


class GateRecord(Artifact):
    """Result of ``gate``: shares by expert, -1 is the base."""

    shares: dict[str, Share]
    softness: Softness | None
    validation: ValidationScores
    scored: int
    error: float | None
    inference_flops_per_row: FlopsPerRow
    rows: int
    units: int
    least_units: int
    test: Test
    comparisons: list[Comparison]
    bins: NotRequired[BinEdges]


class VariantScores(TypedDict):
    """A variant's pool and generalist: scores on validation rows, FLOPs of their training.

    ``error`` is the standard error of the pool's score, by unit.
    """

    variant: str
    changes: dict[str, Any]
    pool: float
    generalist: float
    pool_flops: float
    generalist_flops: float
    error: float | None


class Search(TypedDict):
    """A choice among variants: whose pool, whose generalist, on how many validation rows.

    The FLOPs are those of all pools, and of all generalists; what several share counts once.
    ``spent`` is what all of these and all random partitions took.
    """

    rows: int
    units: int
    pool: str
    generalist: str
    variants: list[VariantScores]
    pools_flops: float
    generalists_flops: float
    spent: float


class Chosen(TypedDict):
    """Something that was chosen without being told: what, which way, and by which evidence."""

    choice: str
    taken: str
    evidence: str


class VariantChoice(Artifact, Search):
    """Result of ``choose-variant``.

    Files by which the chosen generalist is scored are relative to the folder of this one.
    """

    files: dict[str, str]
    asked: list[str]


class Ends(TypedDict):
    """Ends of an interval; None with too few units for one."""

    low: float | None
    high: float | None


class Difference(Ends):
    """A difference of two scores, with its interval."""

    value: float


class Beats(Difference):
    """A contender's score minus the constant's, and whether it is clearly better.

    None where there are too few units to tell.
    """

    beats: bool | None


class AgainstConstant(Beats):
    """The best contender against the constant answer."""

    contender: str


class AgainstUsual(TypedDict):
    """Pool and generalist minus a usual model of tables that scores better than the pool.

    ``worse`` names those of the two that are clearly worse.
    """

    contender: str
    pool: Difference
    generalist: Difference
    worse: list[Literal["pool", "generalist"]]


class Worst(TypedDict):
    """The partition in which a contender is worst."""

    partition: int
    score: float
    rows: NotRequired[int]
    units: NotRequired[int]


class Scores(TypedDict):
    """A contender on the test rows.

    Where trainings stop early, ``train_flops_at_most`` is what making it might have cost.
    """

    score: float
    scores: NotRequired[dict[str, float | None]]
    log_loss: float | None
    calibration_error: float | None
    worst_partition: Worst | None
    train_flops: float
    train_flops_at_most: NotRequired[float]
    inference_flops_per_row: float


class PoolScores(Scores):
    """A pool on the test rows; the interval is that of the one that is shipped."""

    interval: NotRequired[Ends]


class Answered(TypedDict):
    """Shares of test rows by who answers them; the rest is the base's."""

    specialist: float
    both: float
    generalist: float


class GateSummary(TypedDict):
    """How many specialists have a share, on how many units that was decided, and what follows."""

    specialists: int
    serving: int
    units: int
    least_units: int
    kind: str | None
    softness: float | None
    answered: Answered
    models_per_row: float


class TestUnits(TypedDict):
    """Units of the test rows: their kind, how many there are, how many an interval takes."""

    kind: str | None
    test: int
    least: NotRequired[int]


class Bootstrap(TypedDict):
    """Resamples of the paired bootstrap and their seed."""

    resamples: int
    seed: int


class Rejection(TypedDict):
    """Share of rows that the router gives to the base as unlike anything it knows."""

    outside: float
    test: float


class Control(TypedDict):
    """Pool and generalist against the constant answer on shuffled labels."""

    confidence: float
    rows: int
    pool: Beats
    generalist: Beats


class Repeated(TypedDict):
    """Held-out rows with the inputs of an earlier fold, among all."""

    rows: int
    of: int


class Near(Repeated):
    """Held-out rows near to training rows, among those compared, and how many chance explains."""

    by_chance: float


class TellingColumn(TypedDict):
    """A column that alone gives the label: accuracy, or R² and 0 for the constant answer."""

    column: str
    score: float
    constant: float


class Leaks(TypedDict):
    """Leaks between folds and from columns."""

    exact: Repeated
    near: Near
    columns: list[TellingColumn]


class Spelling(TypedDict):
    """A value as it is spelt, and the rows that hold it."""

    value: str
    rows: int


class Spellings(TypedDict):
    """Values of a column that differ only in case or blanks."""

    column: str
    spellings: list[Spelling]
    others: int


class Lack(TypedDict):
    """Specialists that a partition of a pool lacks because training failed."""

    partition: int
    specialist: bool
    points: list[str]
    reasons: list[str]


class Comparisons(TypedDict):
    """Part of ``metrics.json``: the pool against the generalist and the constant answer."""

    verdict: str
    sentence: str
    units: NotRequired[TestUnits]
    difference: Difference
    against_constant: NotRequired[AgainstConstant]
    against_same_model: NotRequired[Difference]
    bootstrap: NotRequired[Bootstrap]
    against_usual: list[AgainstUsual]


class CriticalPath(TypedDict):
    """Training FLOPs one after the other on some numbers of nodes; None: as many as there are jobs.

    ``ungated`` is the pool before its gate, ``pool`` the one that is shipped.
    """

    nodes: list[int | None]
    ungated: list[float]
    pool: list[float]
    generalist: list[float]


NOT_CHOSEN: Final = "not chosen"
"""Verdict of a variant whose pool was not chosen on validation rows; it has no test score."""


class Judged(Artifact):
    """``metrics.json``, as far as it has no test score: the same of all variants."""

    metric: Metric
    verdict: str
    sentence: str
    search: NotRequired[Search]


class Metrics(Artifact, Comparisons):
    """``metrics.json``."""

    metric: Metric
    rows: HeldRows
    partitions: int
    shipped: Literal["pool_top1", "pool_top2"]
    pool_top1: PoolScores
    pool_top2: PoolScores
    ungated: Scores
    generalist: Scores
    same_model: NotRequired[Scores]
    random_partitions: Scores
    constant: NotRequired[Scores]
    linear_model: NotRequired[Scores]
    boosted_trees: NotRequired[Scores]
    search: NotRequired[Search]
    choices: NotRequired[list[Chosen]]
    control: Control | None
    leaks: NotRequired[Leaks]
    spellings: NotRequired[list[Spellings]]
    incomplete: list[Lack]
    gate: GateSummary
    critical_path: CriticalPath
    rejection: NotRequired[Rejection | None]


def scored(path: Path) -> Metrics | None:
    """Content of a ``metrics.json``; None where the variant was not chosen, so has no test score.

    Args:
        path: The file.
    """
    if read_made(path, Judged)["verdict"] == NOT_CHOSEN:
        return None
    return read_made(path, Metrics)


class Check(Artifact):
    """Result of ``split-check``."""

    leaks: Leaks
    spellings: list[Spellings]


class Advice(TypedDict):
    """The recommendation of a drift report."""

    action: Literal["keep", "retrain", "grow", "refit"]
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
