"""Published results of each variant: scores, winners by partition, and how these moved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from shoal.errors import CorruptError
from shoal.formats.documents.choice import Choice
from shoal.formats.documents.index import PartitionIndex
from shoal.formats.documents.judgement import GateRecord, Judged, scored
from shoal.formats.documents.plan import ReleaseNow, RunRecord
from shoal.formats.json_file import read_made
from shoal.formats.text import value_text
from shoal.plan.history import History
from shoal.plan.layout import Layout
from shoal.plan.variants import question_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shoal.formats.documents import plan as documents
    from shoal.formats.documents.choice import Margin
    from shoal.formats.documents.judgement import Metrics, PoolScores

    Point = Mapping[str, Any]

Moved = Literal["same rows", "kept", "moved", "new", "gone"]


@dataclass(frozen=True)
class Move:
    """A partition's winner before and after a change of rows.

    Attributes:
        partition: Its number.
        what: ``same rows``: neither its training nor its validation rows changed, so it chose
            nothing again; ``kept`` or ``moved``: they did, and the winner is the same or another;
            ``new`` or ``gone``: it has a specialist only now, or only had one before.
        before: The winner's values before; None for ``new``.
        after: The winner's values now; None for ``gone``.
    """

    partition: int
    what: Moved
    before: Point | None
    after: Point | None


@dataclass(frozen=True)
class Winner:
    """The grid point that a partition chose.

    Attributes:
        partition: Its number.
        train: Digest of its training rows.
        validation: Digest of its validation rows.
        point: The chosen grid point's values by hyperparameter.
        losses: Mean validation loss of each grid point, by its text; empty without rows.
        points: Values of the points in ``losses``.
        rows: Validation rows that they were compared on.
        margin: Distance to the next best point; None where there is nothing to compare.
    """

    partition: int
    train: str
    validation: str
    point: Point
    losses: dict[str, float]
    points: dict[str, Point]
    rows: int
    margin: Margin | None


@dataclass(frozen=True)
class Known:
    """Published results of a variant.

    Attributes:
        experiment: Name of the experiment.
        variant: The variant's id, the last part of its folder; empty where it is the only one.
        question: Its :func:`shoal.plan.variants.question_of`.
        changes: Settings that tell it from the others.
        release: Identity of the release.
        partitions: How many it has.
        validation: The pool's mean score on validation rows that chose nothing.
        generalist_validation: The generalist's.
        validation_rows: How many these are.
        judged: Content of ``metrics.json``, as far as all variants have it.
        metrics: All of it; None where the variant's pool was not chosen, so has no test score.
        winners: The partitions that have a specialist.
        since: The release that the winners are compared with, None where there is none.
        moves: How they moved since then.
    """

    experiment: str
    variant: str
    question: str
    changes: Point
    release: str
    partitions: int
    validation: float
    generalist_validation: float
    validation_rows: int
    judged: Judged
    metrics: Metrics | None
    winners: Sequence[Winner]
    since: str | None
    moves: Sequence[Move]

    @property
    def shipped(self) -> PoolScores | None:
        """Scores of the pool that is shipped; None where it was not chosen."""
        return None if self.metrics is None else self.metrics[self.metrics["shipped"]]

    @property
    def generalist(self) -> str:
        """Id of the variant whose generalist answers its question."""
        search = self.judged.get("search")
        return search["generalist"] if search else self.variant

    @property
    def settings(self) -> Point:
        """Its changes but the seed: they tell it from others that are no replicates of it."""
        return {name: value for name, value in self.changes.items() if name != "seed"}


def known(run: Path) -> Known:
    """Read the published results of a variant.

    Args:
        run: The settings file of the run.

    Raises:
        SourceError: It is not published.
    """
    content = read_made(run, RunRecord)["plan"]
    layout = Layout.from_json(content["layout"])
    record = read_made(layout.file("pool_publish.record"), ReleaseNow)
    index = read_made(layout.index, PartitionIndex)
    gate = read_made(layout.file("gate.gate", index), GateRecord)
    chosen = {each["partition"]: each["point"]["values"] for each in record["winners"]}
    choices = [layout.choice(entry) for entry in layout.specialised(index)]
    root, home = Path(layout.root), Path(layout.home)
    before = _before(record, History(home, root).entries)
    metrics = layout.file("evaluate.metrics", index)
    return Known(
        experiment=content["settings"]["name"],
        variant=home.name if home != root else "",
        question=question_of(content["settings"]),
        changes=content["changes"],
        release=record["release"],
        partitions=len(index["partitions"]),
        validation=gate["validation"]["pool"],
        generalist_validation=gate["validation"]["generalist"],
        validation_rows=gate["scored"],
        judged=read_made(metrics, Judged),
        metrics=scored(metrics),
        winners=[_winner(path, chosen, layout.file("pool_publish.record")) for path in choices],
        since=None if before is None else before["release"],
        moves=[] if before is None else moves(before["winners"], record["winners"]),
    )


def _winner(path: Path, chosen: Mapping[int, Point], published: Path) -> Winner:
    """A partition's winner, by its choice and the points that the release took."""
    choice = read_made(path, Choice)
    points, margin, point = choice["points"], choice["margin"], chosen.get(choice["partition"])
    if point is None or (points and point not in points.values()):
        number = choice["partition"]
        raise CorruptError(f"{published}: winners: partition {number} has none of its points")
    for name in (*points, *([margin["point"]] if margin else [])):
        if name not in points or name not in choice["losses"]:
            raise CorruptError(f"{path}: losses: point {name[:80]!r} has none")
    return Winner(
        partition=choice["partition"],
        train=choice["digests"]["train"],
        validation=choice["digests"]["validation"],
        point=point,
        losses={point_text(points[name]): choice["losses"][name] for name in points},
        points={point_text(each): each for each in points.values()},
        rows=choice["rows"],
        margin=margin and {**margin, "point": point_text(points[margin["point"]])},
    )


def _before(record: ReleaseNow, entries: Sequence[documents.Release]) -> documents.Release | None:
    """The last release of other rows, all else being equal: settings, code and generation."""
    others = [
        entry
        for entry in entries
        if "winners" in entry
        and entry["layout"]["index_id"] != record["layout"]["index_id"]
        and _chooses_alike(entry["layout"], record["layout"])
    ]
    return others[-1] if others else None


def _chooses_alike(one: documents.LayoutRecord, other: documents.LayoutRecord) -> bool:
    """Whether two releases would choose the same from the same rows."""
    return (
        one["generation"] == other["generation"]
        and one["left_out"] == other["left_out"]
        and one["made"]["choices"] == other["made"]["choices"]
    )


def point_text(point: Point) -> str:
    """A grid point as people read it: ``lr 0.01, weight_decay 0``."""
    return ", ".join(f"{n} {value_text(each)}" for n, each in point.items()) or "the only one"


def moves(before: Sequence[documents.Winner], after: Sequence[documents.Winner]) -> list[Move]:
    """Compare each partition's winner in two releases of one generation, settings and code.

    Returns:
        One entry per partition in either, in order of number.
    """
    old = {each["partition"]: each for each in before}
    new = {each["partition"]: each for each in after}
    return [_move(number, old.get(number), new.get(number)) for number in sorted(old | new)]


def _move(partition: int, before: documents.Winner | None, after: documents.Winner | None) -> Move:
    old, new = (each and each["point"]["values"] for each in (before, after))
    if before is None or after is None:
        return Move(partition, "new" if before is None else "gone", old, new)
    if before["train"] == after["train"] and before["validation"] == after["validation"]:
        return Move(partition, "same rows", old, new)
    same = before["point"]["id"] == after["point"]["id"]
    return Move(partition, "kept" if same else "moved", old, new)
