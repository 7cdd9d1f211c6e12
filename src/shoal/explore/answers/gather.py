"""What is known of each variant: its scores, its partitions' winners, and those before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.errors import CorruptError
from shoal.explore.answers.moves import moves
from shoal.formats.documents.choice import Choice
from shoal.formats.documents.index import PartitionIndex
from shoal.formats.documents.judgement import GateRecord, Metrics
from shoal.formats.documents.plan import ReleaseNow, RunRecord
from shoal.formats.json_file import read_made
from shoal.formats.text import value_text
from shoal.plan.history import History
from shoal.plan.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shoal.explore.answers.moves import Move

    Point = Mapping[str, Any]


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
        margin: Next best ``point``, its loss minus the winner's as ``value``, and the standard
            ``error`` of that over ``units``; None where there is nothing to compare.
    """

    partition: int
    train: str
    validation: str
    point: Point
    losses: dict[str, float]
    points: dict[str, Point]
    rows: int
    margin: Mapping[str, Any] | None


@dataclass(frozen=True)
class Known:
    """What is published of a variant.

    Attributes:
        experiment: Name of the experiment.
        variant: The variant's id, the last part of its folder; empty where it is the only one.
        changes: What tells it from the others.
        release: Identity of the release.
        partitions: How many it has.
        gate: The pool's mean ``score`` on validation rows that chose nothing, and those ``rows``.
        metrics: Content of ``metrics.json``.
        winners: The partitions that have a specialist.
        since: The release that the winners are compared with, None where there is none.
        moves: How they moved since then.
    """

    experiment: str
    variant: str
    changes: Mapping[str, Any]
    release: str
    partitions: int
    gate: Mapping[str, Any]
    metrics: Mapping[str, Any]
    winners: Sequence[Winner]
    since: str | None
    moves: Sequence[Move]

    @property
    def settings(self) -> dict[str, Any]:
        """What tells it from others that are no replicates of it: its changes but the seed."""
        return {name: value for name, value in self.changes.items() if name != "seed"}


def known(run: Path) -> Known:
    """What is published of a variant.

    Args:
        run: The settings file of the run.

    Raises:
        SourceError: It is not published.
    """
    content = read_made(run, RunRecord)["plan"]
    layout = Layout.from_json(content["layout"])
    record = read_made(layout.published, ReleaseNow)
    index = read_made(layout.index, PartitionIndex)
    gate = read_made(layout.gate(index), GateRecord)
    chosen = {each["partition"]: each["point"]["values"] for each in record["winners"]}
    choices = [layout.choice(entry) for entry in layout.specialised(index)]
    root, home = Path(layout.root), Path(layout.home)
    before = _before(record, History(home, root).entries)
    return Known(
        experiment=content["settings"]["name"],
        variant=home.name if home != root else "",
        changes=content["changes"],
        release=record["release"],
        partitions=len(index["partitions"]),
        gate={"score": gate["validation"]["pool"], "rows": gate["rows"]},
        metrics=read_made(layout.evaluation(index, "metrics.json"), Metrics),
        winners=[_winner(path, chosen, layout.published) for path in choices],
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


def _before(
    record: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    """The last release of other rows, all else being equal: settings, code and generation."""
    own = record["layout"]
    others = [
        entry
        for entry in entries
        if "winners" in entry
        and entry["layout"]["index_id"] != own["index_id"]
        and _same_but_rows(entry["layout"], own)
    ]
    return others[-1] if others else None


def _same_but_rows(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two releases would choose the same from the same rows."""
    names = ("generation", "left_out")
    same = all(one[name] == other[name] for name in names)
    return same and bool(one["made"]["choices"] == other["made"]["choices"])


def point_text(point: Point) -> str:
    """A grid point as people read it: ``lr 0.01, weight_decay 0``."""
    return ", ".join(f"{n} {value_text(each)}" for n, each in point.items()) or "the only one"
