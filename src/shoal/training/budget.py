"""How many rows each model may see. No torch here: a plan reads it too."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """How many rows each model may see, frozen with the base.

    Attributes:
        rows_seen: Base and one grid point's specialists together.
        base_share: Share of the base.
        training_rows: Rows of the training fold when the base was trained.
    """

    rows_seen: int
    base_share: float
    training_rows: int

    @property
    def rate(self) -> float:
        """Rows that a specialist sees for each of its own training rows."""
        return self.rows_seen * (1 - self.base_share) / self.training_rows

    def specialist_rows(self, rows: int) -> int:
        """Rows that a specialist with ``rows`` training rows sees."""
        return math.ceil(self.rate * rows)
