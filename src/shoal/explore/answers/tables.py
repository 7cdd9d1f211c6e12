"""The comparison of an experiment's choices, as tables: lists of rows, columns by name."""

from __future__ import annotations

from collections import Counter
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
    from shoal.formats.documents.judgement import Chosen
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
        metric: Name of the score that decides.
        varying: Settings that tell variants apart, in order.
        points: Grid points as text, in the order of the grid.
        variants: See :func:`variants_table`, and so on.
        questions: Pool and generalist that answer for the same unseen rows.
        choices: What the search chose, with its evidence; empty where there are several questions.
        splits: The same, side by side for each way to split; seeds together.
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
    questions: Sequence[Row]
    choices: Sequence[Chosen]
    splits: Sequence[Row]
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
            "questions": self.questions,
            "splits": self.splits,
            "replicates": self.replicates,
            "variation": [
                *explained_table(VALIDATION, self.scores),
                *explained_table(LOSS, self.losses),
            ],
            "losses": self.loss_rows,
            "winners": self.winners,
            "moves": self.moves,
        }

    @property
    def split_names(self) -> list[str]:
        """The settings of the split that vary."""
        return [name for name in self.varying if _is_of_split(name)]

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
        metric=found[0].judged["metric"],
        varying=varying(found),
        points=_ordered({point_text(point): point for point in points}, names),
        variants=variants_table(found),
        questions=questions_table(found),
        choices=_choices(found),
        splits=splits_table(found),
        replicates=replicates_table(found),
        scores=scores_explained(found),
        losses=losses_explained(losses, names),
        loss_rows=losses,
        winners=winners_table(found),
        wins=wins_table(found),
        moves=moves_table(found),
    )


def _choices(found: Sequence[Known]) -> Sequence[Chosen]:
    chosen = [each.metrics.get("choices", []) for each in found if each.metrics is not None]
    return chosen[0] if len(chosen) == 1 else []


def varying(found: Sequence[Known]) -> list[str]:
    """The settings that tell variants apart, in the order of the stages; the seed first."""
    from shoal.settings.config_files import VARYING

    names = dict.fromkeys(name for each in found for name in each.changes)
    order = {stage: number for number, stage in enumerate(("seed", *VARYING))}
    return sorted(names, key=lambda name: order.get(name.partition(".")[0], len(order)))


def hyperparameters(found: Sequence[Known]) -> list[str]:
    """The hyperparameters of the grid, in order."""
    points = (p for each in found for w in each.winners for p in (w.point, *w.points.values()))
    return list(dict.fromkeys(name for point in points for name in point))


def variants_table(found: Sequence[Known]) -> list[Row]:
    """One row per variant, the best on validation first; only chosen pools have a test score."""
    names, chosen = varying(found), {each.generalist for each in found}
    nothing = {"low": None, "high": None}
    rows = [
        {
            "variant": each.variant,
            **{name: _setting(each.changes, name) for name in names},
            "partitions": each.partitions,
            "validation": each.validation,
            "generalist_validation": each.generalist_validation,
            "validation_rows": each.validation_rows,
            "pool_chosen": each.metrics is not None,
            "generalist_chosen": each.variant in chosen,
            **{kind: score(each) for kind, score in _TEST.items()},
            **(each.shipped["interval"] if each.shipped else nothing),
            "verdict": each.judged["verdict"],
            "release": each.release,
        }
        for each in found
    ]
    # A sort is stable: equals stay in the order of the grid.
    return sorted(rows, key=lambda row: (-row["validation"], not row["pool_chosen"]))


def questions_table(found: Sequence[Known]) -> list[Row]:
    """One row per seed and split: the pool and the generalist that validation rows chose."""
    known, rows = {each.variant: each for each in found}, []
    names = [name for name in varying(found) if _is_of_split(name) or name == "seed"]
    for each in found:
        if each.metrics is not None:
            row: Row = {name: _setting(each.changes, name) for name in names}
            row["variants"] = sum(other.question == each.question for other in found)
            row |= {"pool": each.variant, "pool_settings": _own_text(each)}
            own = known[each.generalist]
            row |= {"generalist": own.variant, "generalist_settings": _own_text(own)}
            row |= {f"{kind}_score": score(each) for kind, score in _TEST.items()}
            rows.append(row | each.metrics["difference"] | {"verdict": each.metrics["verdict"]})
    return rows


def splits_table(found: Sequence[Known]) -> list[Row]:
    """One row per way to split: scores of pool and generalist, their difference, its interval.

    Of one seed the interval is that of its rows; of several that of t over seeds, whose means the
    scores are.
    """
    names = [name for name in varying(found) if _is_of_split(name)]
    groups: dict[str, list[Row]] = {}
    for row in questions_table(found):
        groups.setdefault(value_text([row[name] for name in names]), []).append(row)
    rows = []
    for own in groups.values():
        row = {name: own[0][name] for name in names} | {"n": len(own)}
        for kind in ("pool", "generalist"):
            times = Counter(each[f"{kind}_settings"] for each in own)
            row[kind] = "; ".join(
                f"{n} in {text}" if len(own) > 1 else text for text, n in times.items()
            )
        for name in ("test_score", "generalist_score"):
            row[name] = fmean(each[name] for each in own)
        rows.append(row | _difference([each["value"] for each in own], own[0]))
    return rows


def _difference(values: Sequence[float], first: Row) -> Row:
    """Mean of differences with its interval over seeds; of one its own."""
    if len(values) == 1:
        return {name: first[name] for name in ("value", "low", "high")}
    mean = fmean(values)
    reach = _quantile(len(values)) * stdev(values) / len(values) ** 0.5
    return {"value": mean, "low": mean - reach, "high": mean + reach}


def _is_of_split(name: str) -> bool:
    return name.partition(".")[0] == "split"


def _own_text(each: Known) -> str:
    """Settings that tell a variant from others that answer for the same rows."""
    own = {name: value for name, value in each.settings.items() if not _is_of_split(name)}
    return point_text(own) if own else "as it is"


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
            scores = [value for each in own if (value := score(each)) is not None]
            is_whole = len(scores) == len(own)  # else it would be of those that were chosen
            row[f"{kind}_mean"] = fmean(scores) if is_whole else None
            row[f"{kind}_deviation"] = stdev(scores) if is_whole and len(scores) > 1 else None
        rows.append(row)
    return sorted(rows, key=lambda row: -row["validation_mean"])


_TEST: dict[str, Callable[[Known], float | None]] = {
    "test": lambda each: each.shipped["score"] if each.shipped else None,
    "generalist": lambda each: each.metrics["generalist"]["score"] if each.metrics else None,
}

_SCORES: dict[str, Callable[[Known], float | None]] = {
    "validation": lambda each: each.validation,
    **_TEST,
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
        reach = _quantile(margin.get("units", winner.rows)) * margin["error"]
        low, high = margin["value"] - reach, margin["value"] + reach
    return {"next": margin["point"], "margin": margin["value"], "low": low, "high": high}


def _quantile(count: int) -> float:
    """Quantile of t for an interval of a mean of so many."""
    from scipy.special import stdtrit  # scipy.stats takes long to import

    return float(stdtrit(count - 1, (1 + _CONFIDENCE) / 2))


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
