"""The comparison of an experiment's choices, as tables: lists of rows, columns by name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from shoal.explore.answers.anova import ABSENT, Explained, explained
from shoal.explore.answers.gather import point_text
from shoal.formats.text import value_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shoal.explore.answers.gather import Known, Point, Winner
    from shoal.formats.kinds import Metric

    Row = dict[str, Any]

VALIDATION, LOSS = "validation score of variants", "validation loss of grid points"
"""Scores that the two decompositions are of."""

GRID = "grid."
"""Begins the names of columns that hold hyperparameters: one may be called like another column."""

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Answers:
    """The comparison; a table is a list of rows.

    Attributes:
        experiment: Its name.
        metric: ``accuracy`` or ``rmse``.
        varying: Settings that tell variants apart, in order.
        points: Grid points as text, in the order of the grid.
        variants: See :func:`variants_table`, and so on.
        replicates: Variants that differ in their seed alone.
        scores: Decomposition of the variants' validation scores.
        losses: Decomposition of the losses of grid points within partitions.
        loss_rows: Those losses.
        winners: The grid point that each partition chose.
        wins: How often each grid point was chosen.
        moves: How the choices moved since other rows were there.
    """

    experiment: str
    metric: Metric
    varying: Sequence[str]
    points: Sequence[str]
    variants: Sequence[Row]
    replicates: Sequence[Row]
    scores: Explained
    losses: Explained
    loss_rows: Sequence[Row]
    winners: Sequence[Row]
    wins: Sequence[Row]
    moves: Sequence[Row]

    @property
    def tables(self) -> dict[str, Sequence[Row]]:
        """The tables that are kept, by name."""
        return {
            "variants": self.variants,
            "replicates": self.replicates,
            "variation": [
                *explained_table(VALIDATION, self.scores),
                *explained_table(LOSS, self.losses),
            ],
            "losses": self.loss_rows,
            "winners": self.winners,
            "moves": self.moves,
        }

    @cached_property
    def loss_of(self) -> dict[tuple[str, int, str], float]:
        """Mean validation loss by variant, partition and grid point."""
        return {
            (row["variant"], row["partition"], row["point"]): row["loss"] for row in self.loss_rows
        }


def compare(found: Sequence[Known]) -> Answers:
    """Compare variants and grid points.

    Args:
        found: Published results of each variant, in the order of the grid.
    """
    names = hyperparameters(found)
    losses = losses_table(found)
    winners = (winner for each in found for winner in each.winners)
    points = (p for winner in winners for p in (*winner.points.values(), winner.point))
    return Answers(
        experiment=found[0].experiment,
        metric=found[0].metrics["metric"],
        varying=varying(found),
        points=_ordered({point_text(point): point for point in points}, names),
        variants=variants_table(found),
        replicates=replicates_table(found),
        scores=scores_explained(found),
        losses=losses_explained(losses, names),
        loss_rows=losses,
        winners=winners_table(found),
        wins=wins_table(found),
        moves=moves_table(found),
    )


def varying(found: Sequence[Known]) -> list[str]:
    """The settings that tell variants apart, in the order of the stages; the seed first."""
    from shoal.settings.config_files import STAGES

    names = dict.fromkeys(name for each in found for name in each.changes)
    order = {stage: number for number, stage in enumerate(("seed", *STAGES))}
    return sorted(names, key=lambda name: order.get(name.partition(".")[0], len(order)))


def hyperparameters(found: Sequence[Known]) -> list[str]:
    """The hyperparameters of the grid, in order."""
    points = (p for each in found for w in each.winners for p in (w.point, *w.points.values()))
    return list(dict.fromkeys(name for point in points for name in point))


def variants_table(found: Sequence[Known]) -> list[Row]:
    """One row per variant, the best on validation first."""
    names = varying(found)
    rows = [
        {
            "variant": each.variant,
            **{name: _setting(each.changes, name) for name in names},
            "partitions": each.partitions,
            "validation": each.validation,
            "validation_rows": each.validation_rows,
            "test": each.shipped["score"],
            **each.shipped["interval"],
            "generalist": each.metrics["generalist"]["score"],
            "verdict": each.metrics["verdict"],
            "release": each.release,
        }
        for each in found
    ]
    # A sort is stable: equals stay in the order of the grid.
    return sorted(rows, key=lambda row: -row["validation"])


def replicates_table(found: Sequence[Known]) -> list[Row]:
    """One row per set of variants that differ in their seed alone, the best mean first."""
    groups: dict[str, list[Known]] = {}
    for each in found:
        groups.setdefault(value_text(each.settings), []).append(each)
    names = [name for name in varying(found) if name != "seed"]
    rows = []
    for own in groups.values():
        row: Row = {name: _setting(own[0].settings, name) for name in names} | {"n": len(own)}
        for kind, score in _SCORES.items():
            scores = [float(score(each)) for each in own]
            row[f"{kind}_mean"] = fmean(scores)
            row[f"{kind}_deviation"] = stdev(scores) if len(scores) > 1 else None
        rows.append(row)
    return sorted(rows, key=lambda row: -row["validation_mean"])


_SCORES: dict[str, Callable[[Known], float]] = {
    "validation": lambda each: each.validation,
    "test": lambda each: each.shipped["score"],
    "generalist": lambda each: each.metrics["generalist"]["score"],
}


def scores_explained(found: Sequence[Known]) -> Explained:
    """Decompose the variants' validation scores by choice and seed."""
    factors = {name: [each.changes.get(name, ABSENT) for each in found] for name in varying(found)}
    return explained([each.validation for each in found], factors)


def losses_table(found: Sequence[Known]) -> list[Row]:
    """One row for each grid point that a partition of a variant could choose from."""
    names = hyperparameters(found)
    return [
        {
            "variant": each.variant,
            "partition": winner.partition,
            **{GRID + name: winner.points[point].get(name, ABSENT) for name in names},
            "point": point,
            "loss": loss,
            "own_level": fmean(winner.losses.values()),
            "won": point == point_text(winner.point),
        }
        for each in found
        for winner in each.winners
        for point, loss in winner.losses.items()
    ]


def losses_explained(rows: Sequence[Row], names: Sequence[str]) -> Explained:
    """Decompose the losses within partitions by hyperparameter.

    Args:
        rows: Rows of :func:`losses_table`. A partition's own level, the mean over its grid
            points, is taken off first.
        names: The hyperparameters.
    """
    factors = {name: [row[GRID + name] for row in rows] for name in names}
    return explained([row["loss"] - row["own_level"] for row in rows], factors)


def explained_table(of: str, found: Explained) -> list[Row]:
    """One row per part of a decomposition, the rest last."""
    parts = [(each.term, each.share, each.chance) for each in found.shares]
    if parts:
        parts.append(("the rest", found.rest, 1 - sum(each.chance for each in found.shares)))
    return [{"of": of, "term": t, "share": s, "by_chance": c} for t, s, c in parts]


def winners_table(found: Sequence[Known]) -> list[Row]:
    """One row per partition of a variant: the grid point that won, and how clearly."""
    names = hyperparameters(found)
    return [
        {
            "variant": each.variant,
            "partition": winner.partition,
            **{GRID + name: _setting(winner.point, name) for name in names},
            "point": point_text(winner.point),
            "loss": winner.losses.get(point_text(winner.point)),
            "rows": winner.rows,
            **_ahead(winner),
            "train": winner.train,
            "validation": winner.validation,
        }
        for each in found
        for winner in each.winners
    ]


def _ahead(winner: Winner) -> Row:
    """How far the winner is ahead of the next best, with a paired interval over units."""
    margin = winner.margin
    if margin is None:
        return {"next": None, "margin": None, "low": None, "high": None}
    low = high = None
    if margin["error"] is not None:
        from scipy.special import stdtrit  # the quantile of t; scipy.stats takes long to import

        quantile = stdtrit(margin.get("units", winner.rows) - 1, (1 + _CONFIDENCE) / 2)
        reach = float(quantile) * margin["error"]
        low, high = margin["value"] - reach, margin["value"] + reach
    return {"next": margin["point"], "margin": margin["value"], "low": low, "high": high}


def wins_table(found: Sequence[Known]) -> list[Row]:
    """One row per grid point: in how many partitions of all variants it won, and how often clearly.

    Partitions without validation rows to choose by are left out.
    """
    chosen = [winner for each in found for winner in each.winners if winner.losses]
    counts: dict[str, Row] = {}
    for point in sorted({point for winner in chosen for point in winner.losses}):
        counts[point] = {"point": point, "won": 0, "clearly": 0, "of": 0}
    for winner in chosen:
        for point in winner.losses:
            counts[point]["of"] += 1
        row = counts[point_text(winner.point)]
        row["won"] += 1
        row["clearly"] += is_clear(_ahead(winner))
    return sorted(counts.values(), key=lambda row: -row["won"])


def is_clear(row: Row) -> bool:
    """Whether the interval of a winner's margin leaves out zero."""
    return row["low"] is not None and row["low"] > 0


def moves_table(found: Sequence[Known]) -> list[Row]:
    """One row per partition of a variant: its winner before and after the last change of rows."""
    return [
        {
            "variant": each.variant,
            "partition": move.partition,
            "what": move.what,
            "before": None if move.before is None else point_text(move.before),
            "after": None if move.after is None else point_text(move.after),
            "since": each.since,
        }
        for each in found
        for move in each.moves
    ]


def _setting(settings: Point, name: str) -> str | None:
    """A setting's value as text, so that a column has one type; None where it does not apply."""
    return value_text(settings[name]) if name in settings else None


def _ordered(points: dict[str, Point], names: Sequence[str]) -> list[str]:
    """Grid points by the values of their hyperparameters: numbers first, by size."""

    def place(value: Any) -> tuple[bool, float, str]:  # noqa: ANN401 - a setting's
        is_number = isinstance(value, int | float)
        return not is_number, float(value) if is_number else 0.0, str(value)

    return sorted(points, key=lambda text: [place(points[text].get(name)) for name in names])
