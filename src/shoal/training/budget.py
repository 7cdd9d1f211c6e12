"""How many rows each model may see. No torch here: a plan reads it too."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from shoal.settings.learning import Training


@dataclass(frozen=True)
class Budget:
    """How many rows each model may see, frozen with the base.

    Attributes:
        rows_seen: Base and one grid point's specialists together.
        base_share: Share of the base.
        training_rows: Rows of the training fold when the base was trained.
        epochs: Passes of a specialist over its own rows; None where ``rows_seen`` was given.
    """

    rows_seen: int
    base_share: float
    training_rows: int
    epochs: float | None = None

    @classmethod
    def of(cls, training: Training, training_rows: int) -> Self:
        """The budget of some settings.

        Args:
            training: The settings.
            training_rows: Rows of the training fold.
        """
        epochs, rows = training.epochs, training.rows_seen
        if epochs is not None:
            rows = math.ceil(epochs * training_rows / (1 - training.base_share))
        return cls(rows, training.base_share, training_rows, epochs)

    @property
    def base_rows(self) -> int:
        """Rows that the base sees."""
        return round(self.rows_seen * self.base_share)

    @property
    def rate(self) -> float:
        """Rows that a specialist sees for each of its own training rows."""
        if self.epochs is not None:
            return self.epochs
        return self.rows_seen * (1 - self.base_share) / self.training_rows

    def specialist_rows(self, rows: int) -> int:
        """Rows that a specialist with ``rows`` training rows sees."""
        return math.ceil(self.rate * rows)
