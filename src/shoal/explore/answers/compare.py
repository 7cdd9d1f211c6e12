"""Everything that is said of an experiment's choices, worked out once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from shoal.explore.answers import tables
from shoal.explore.answers.gather import point_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shoal.explore.answers.anova import Explained
    from shoal.explore.answers.gather import Known
    from shoal.explore.answers.tables import Row


@dataclass(frozen=True)
class Answers:
    """What was found; a table is a list of rows, a column a name.

    Attributes:
        experiment: Its name.
        metric: ``accuracy`` or ``rmse``.
        varying: Settings that tell variants apart, in order.
        points: Grid points as text, in the order of the grid.
        variants: See :func:`shoal.explore.answers.tables.variants_table`, and so on.
        replicates: Variants that differ in their seed alone.
        scores: What explains the variants' validation scores.
        losses: What explains the losses of grid points within partitions.
        loss_rows: Those losses.
        winners: The grid point that each partition chose.
        wins: How often each grid point was chosen.
        moves: How the choices moved since other rows were there.
    """

    experiment: str
    metric: str
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
                *tables.explained_table(tables.VALIDATION, self.scores),
                *tables.explained_table(tables.LOSS, self.losses),
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
    """Work out everything.

    Args:
        found: What is published of each variant, in the order of the grid.
    """
    names = tables.hyperparameters(found)
    losses = tables.losses_table(found)
    winners = (winner for each in found for winner in each.winners)
    points = (p for winner in winners for p in (*winner.points.values(), winner.point))
    metrics: Any = found[0].metrics
    return Answers(
        experiment=found[0].experiment,
        metric=metrics["metric"],
        varying=tables.varying(found),
        points=_ordered({point_text(point): point for point in points}, names),
        variants=tables.variants_table(found),
        replicates=tables.replicates_table(found),
        scores=tables.scores_explained(found),
        losses=tables.losses_explained(losses, names),
        loss_rows=losses,
        winners=tables.winners_table(found),
        wins=tables.wins_table(found),
        moves=tables.moves_table(found),
    )


def _ordered(points: dict[str, Any], names: Sequence[str]) -> list[str]:
    """Grid points by the values of their hyperparameters: numbers first, by size."""

    def place(value: Any) -> tuple[bool, float, str]:  # noqa: ANN401 - a setting's
        is_number = isinstance(value, int | float)
        return not is_number, float(value) if is_number else 0.0, str(value)

    return sorted(points, key=lambda text: [place(points[text].get(name)) for name in names])
