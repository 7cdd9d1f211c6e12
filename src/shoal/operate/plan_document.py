"""The document that ``shoal plan --json`` prints."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from shoal.formats.documents.choice import Point
from shoal.formats.documents.index import Counts, Waiting
from shoal.formats.documents.judgement import Advice, Lack
from shoal.formats.documents.mixes import Mixes
from shoal.formats.kinds import Fold
from shoal.operate.staleness import Status


class CostRecord(TypedDict):
    """A :class:`shoal.operate.estimate.Cost`; what past jobs do not tell is null."""

    jobs: int
    seconds: float | None
    flops: float | None


class Percent(TypedDict):
    """A cost in another; null where either is not known."""

    jobs: float | None
    seconds: float | None
    flops: float | None


class Total(TypedDict):
    """Cost of the run and of a full one, and the percentage of the one in the other."""

    run: CostRecord
    full: CostRecord
    percent: Percent


class BeforeAfter(TypedDict):
    """Rows by fold in the published index and in the current one; null where not known."""

    before: Counts | None
    after: Counts | None


class ChangedFile(TypedDict):
    """A source file through which rows changed, see :mod:`shoal.operate.row_changes`."""

    path: str
    kind: str


class PlannedLink(TypedDict):
    """A specialist that continues: of how many links, by which rows, and what it would cost."""

    links: int
    added: int
    drawn: int
    flops: float | None
    from_base: float | None


class PlannedPartition(TypedDict):
    """A partition, before and after.

    Attributes:
        partition: Its number.
        status: See :class:`shoal.operate.staleness.PartitionState`.
        rows: How many it had and has.
        changes: Rows added and removed of each fold that changed; null where the earlier rows are
            no longer kept.
        waiting: As in the index.
        continued: As in the index, where the specialist is another than in the published one; with
            ``from_base``, the FLOPs that its search from the base would take.
        why: Reasons for the status.
        files: Source files behind them.
        cost: Of its jobs that would run.
    """

    partition: int
    status: Status
    rows: BeforeAfter
    changes: dict[Fold, list[int] | None]
    waiting: Waiting | None
    continued: PlannedLink | None
    why: list[str]
    files: list[ChangedFile]
    cost: CostRecord


class ChangedSetting(TypedDict):
    """A setting with another value; null where it is not there."""

    name: str
    before: Any
    after: Any


class SeenRows(TypedDict):
    """A :class:`shoal.operate.removal.Seen`."""

    stages: tuple[str, ...]
    rows: int | None
    exact: bool


class Removed(TypedDict):
    """Where training rows that are gone have left something behind.

    Attributes:
        retrained: Partitions that are trained again without them.
        waiting: Partitions that still hold some.
        seen: Fits of the generation that have seen some.
    """

    retrained: list[int]
    waiting: list[int]
    seen: list[SeenRows]


class Growth(TypedDict):
    """Partitions that are added for training rows of a new kind."""

    partitions: int
    rows: int


class PlannedJob(TypedDict):
    """A job that would run."""

    rule: str
    about: str
    partition: int | None
    outputs: list[str]


class PackedSpecialist(TypedDict):
    """A member of a pack; its grid point is null where a decision will tell it."""

    partition: int | None
    point: Point | None
    about: str


class Pack(TypedDict):
    """Specialists that train in one process, and how long they take."""

    pack: str
    device: int
    seconds: float | None
    members: list[PackedSpecialist]


class DoneAfter(TypedDict):
    """Seconds until the last specialist is done, and with a job for each; null if not known."""

    packed: float | None
    alone: float | None


class Packing(TypedDict):
    """Which specialists train together."""

    devices: int
    seconds: DoneAfter
    packs: list[Pack]


class PlanDocument(TypedDict):
    """A planned run.

    Attributes:
        experiment: Its name.
        generation: Number of the generation.
        release: The published release that it is compared with; null before the first.
        exact: False while the generation is not fitted, or the index is out of date where nobody
            may write; counts of jobs are upper bounds then.
        partitions: Each partition.
        settings: Changed settings.
        codes: Stages with changed code.
        other_base: Whether the base is to be trained anew, as its model or settings changed.
        refit_needed: Reasons to start another generation.
        removed: Where training rows that are gone have left something behind.
        incomplete: What the pool is made without because training failed.
        drift: The recommendation of the published release's drift report; null without one.
        growth: Partitions that were added since the published release; null where none were.
        mixes: What was found of mixes by which models may continue; null where none were compared.
        jobs: Those that would run.
        packs: Which specialists train together; null where packing is off. A partition's cost
            then counts its specialists' training, ``train_pack`` among the rules the rest.
        rules: Cost of the jobs that are about no partition, by rule.
        total: Cost of the run and of a full one.
    """

    experiment: str
    generation: int | None
    release: str | None
    exact: bool
    partitions: list[PlannedPartition]
    settings: list[ChangedSetting]
    codes: list[str]
    other_base: bool
    refit_needed: list[str]
    removed: Removed
    incomplete: list[Lack]
    drift: Advice | None
    growth: Growth | None
    mixes: Mixes | None
    jobs: list[PlannedJob]
    packs: Packing | None
    rules: dict[str, CostRecord]
    total: Total
