"""The loss of a training as it goes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from shoal.errors import DivergedError

if TYPE_CHECKING:
    from shoal.formats.ledger import Ledger

PARTS = 20
"""Points of a curve, where a training has as many steps."""


class LearningCurve:
    """Keeps mean losses; ends a training at the first loss that is not a number.

    On several devices it is the loss on the first one's share of the rows. A checkpoint of the
    training holds the curve so far.

    Attributes:
        points: For each part of the training its last step, the job's seconds by then (0 without
            a ledger), and the mean loss of the part's steps.
    """

    def __init__(self, name: str, steps: int, ledger: Ledger | None = None) -> None:
        """Begin a curve.

        Args:
            name: The model's, for the message of a training that diverges.
            steps: Steps of the training.
            ledger: Tells the time; none for states that are the same whenever they are made.
        """
        self.points: list[list[float]] = []
        self._name = name
        self._steps = steps
        self._ledger = ledger
        self._sum = 0.0
        self._since = 0

    def add(self, step: int, loss: float) -> None:
        """Add the loss of a step; the first step is 1.

        Raises:
            DivergedError: It is not finite; the message names the step.
        """
        if not math.isfinite(loss):
            self.refuse(step, loss)
        self._sum += loss
        self._since += 1
        before = self.points[-1][0] if self.points else 0
        if step * PARTS // self._steps > before * PARTS // self._steps:
            seconds = round(self._ledger.seconds, 3) if self._ledger else 0.0
            self.points.append([step, seconds, self._sum / self._since])
            self._sum, self._since = 0.0, 0

    def refuse(self, step: int, loss: float) -> None:
        """End the training.

        Raises:
            DivergedError: Always.
        """
        raise DivergedError(
            f"{self._name}: the loss became {loss} at step {step} of {self._steps}; "
            f"lower the learning rate or look for extreme values in the inputs"
        )

    def state_dict(self) -> dict[str, Any]:
        """The curve so far, for a checkpoint."""
        return {"points": self.points, "sum": self._sum, "steps": self._since}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with a curve of a checkpoint."""
        self.points = state["points"]
        self._sum, self._since = state["sum"], state["steps"]
