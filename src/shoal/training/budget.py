"""How many rows each model may see. No torch here: a plan reads it too."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from shoal.errors import SettingsError

if TYPE_CHECKING:
    from shoal.formats.documents.ledger import Spent
    from shoal.settings.learning import Training


@dataclass(frozen=True)
class Budget:
    """How many rows each model may see, frozen with the base.

    Attributes:
        rows_seen: Base and one grid point's specialists together.
        base_share: Share of the base.
        training_rows: Rows of the training fold when the base was trained.
        epochs: Passes of a specialist over its own rows; None where ``rows_seen`` was given.
        flops: FLOPs of making the pool; where they were given, ``rows_seen`` are the rows that
            trainings alone could see for them.
        base_flops: Of these the base's.
        batch_rows: Rows of a whole batch.
        validation_rows: Rows of the validation fold when the base was trained.
        answers: Answers about validation rows by which the trainings of a slot, of all partitions,
            are compared and, where they stop early, begin and end.
    """

    rows_seen: int
    base_share: float
    training_rows: int
    epochs: float | None = None
    flops: float | None = None
    base_flops: float = 0.0
    batch_rows: int = 0
    validation_rows: int = 0
    answers: int = 0

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

    @classmethod
    def of_flops(
        cls,
        training: Training,
        training_rows: int,
        base: Spent,
        validation_rows: int,
        choosing_rows: int,
    ) -> Self:
        """The budget of settings that give FLOPs, once the base is trained.

        Args:
            training: The settings.
            training_rows: Rows of the training fold.
            base: What the base cost.
            validation_rows: Rows of the validation fold.
            choosing_rows: Of these the ones that choose grid points and end trainings.
        """
        flops, most = float(training.flops or 0), base["flops"] + base.get("unspent", 0.0)
        rows = round(base["rows_seen"] * flops / max(1.0, base["flops"]))
        return cls(
            rows,
            training.base_share,
            training_rows,
            None,
            flops,
            most,
            training.batch_size,
            validation_rows,
            # Looks at each pass are in what a row of the base cost; the first and last are not.
            choosing_rows * (1 if training.patience is None else 3),
        )

    def after(self, fits: float, placing: float, parts: float, slots: int, whole: float) -> Self:
        """The budget once embedding and clusters are found: specialists have what they left.

        What choosing, routing and rounding to whole batches take at most is left out as well. What
        the gate asks is no training, and is no part of it.

        Args:
            fits: FLOPs of finding embedding and clusters.
            placing: FLOPs of embedding a row and of finding its partition.
            parts: How many partitions there are.
            slots: How many trainings a partition has.
            whole: How many these are in whole ones.

        Raises:
            SettingsError: Nothing is left.
        """
        if self.flops is None:
            return self
        a_row = self.flops / max(1, self.rows_seen)
        held = self.training_rows + self.validation_rows
        taken = self.base_flops + fits + placing * (held + self.validation_rows)
        # An answer is a forward pass, a third of a training step.
        taken += a_row / 3 * self.answers * slots
        taken += a_row * self.batch_rows * slots * (parts + 1)
        left = self.flops - taken
        if left <= 0:
            raise SettingsError(
                f"train_specialists.flops: of {self.flops:.3g} FLOPs nothing is left for "
                f"specialists: the base took {self.base_flops:.3g}, embedding and clusters "
                f"{fits:.3g}, choosing and routing take {taken - self.base_flops - fits:.3g}; give "
                f"more than {taken:.2g}, with search.budget as many for each of its parts"
            )
        seen = left / whole / a_row
        return replace(self, rows_seen=round(seen / (1 - self.base_share)))

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
