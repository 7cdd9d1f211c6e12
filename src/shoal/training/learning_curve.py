"""The loss of a training, watched at every step and kept for each twentieth of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl

from shoal.errors import DivergedError

if TYPE_CHECKING:
    from shoal.formats.ledger import Ledger

PARTS = 20
"""Points of a curve, where a training has as many steps."""


class LearningCurve(pl.Callback):
    """Keeps mean losses; ends a training at the first loss that is not a number.

    On several devices it is the loss on the first one's share of the rows. A checkpoint of the
    training holds the curve so far.

    Attributes:
        points: For each part of the training its last step, the job's seconds by then (0 without
            a ledger), and the mean loss of the part's steps.
    """

    def __init__(self, ledger: Ledger | None) -> None:
        self.points: list[list[float]] = []
        self._ledger = ledger
        self._sum = 0.0
        self._steps = 0

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401 - whatever the module's training_step returns
        *_: Any,  # noqa: ANN401
    ) -> None:
        """Take a step's loss."""
        step, steps = trainer.global_step, trainer.max_steps
        loss = float((outputs["loss"] if isinstance(outputs, dict) else outputs).mean())
        diverged = not math.isfinite(loss)
        # All processes of a training end it together: what comes after it may need them all.
        if trainer.world_size > 1:
            diverged = trainer.strategy.reduce_boolean_decision(diverged, all=False)
        if diverged:
            raise DivergedError(
                f"{type(pl_module).__name__}: the loss became {loss} at step {step} of {steps}; "
                f"lower the learning rate or look for extreme values in the inputs"
            )
        self._sum += loss
        self._steps += 1
        before = self.points[-1][0] if self.points else 0
        if step * PARTS // steps > before * PARTS // steps:
            seconds = round(self._ledger.seconds, 3) if self._ledger else 0.0
            self.points.append([step, seconds, self._sum / self._steps])
            self._sum, self._steps = 0.0, 0

    def state_dict(self) -> dict[str, Any]:
        """The curve so far, for a checkpoint."""
        return {"points": self.points, "sum": self._sum, "steps": self._steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with a curve of a checkpoint."""
        self.points = state_dict["points"]
        self._sum, self._steps = state_dict["sum"], state_dict["steps"]
