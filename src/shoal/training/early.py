"""Early stopping: a training ends where its validation loss gets no better, at its best state."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from shoal.training.model import mean_losses

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch
    from numpy.typing import NDArray

    from shoal.formats.ledger import Ledger


class Held(Protocol):
    """Validation rows by which a training stops: see :mod:`shoal.partitions.held`."""

    def __len__(self) -> int:
        """How many there are."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory that they take."""

    def blocks(self) -> Iterator[Mapping[str, NDArray[Any]]]:
        """``x`` and ``y`` of all of them, always in the same order."""


class EarlyStopping:
    """Looks at the validation loss at the start and after each pass, and keeps the best state.

    The loss is the one by which grid points are chosen. One that is not a number is no better than
    any other. What a training leaves of its budget nobody else may spend.

    Attributes:
        over: Whether the training ends before its steps are done.
        done: Steps done at the last look.
    """

    def __init__(
        self,
        held: Held,
        task: str,
        patience: float,
        steps: int,
        per_pass: int,
        batch_size: int,
        costs: tuple[int, int],
        ledger: Ledger,
    ) -> None:
        """Begin; the ledger is charged for all looks that there may be.

        Args:
            held: The validation rows, at least one.
            task: ``classification``, ``regression`` or ``own``.
            patience: Passes without a better loss after which the training ends.
            steps: Steps at most.
            per_pass: Steps of a pass over the training rows.
            batch_size: Rows per step.
            costs: FLOPs of a step, and of the forward pass of one row.
            ledger: Of the job; it has been charged for all steps.
        """
        self.over = False
        self._held = held
        self._task = task
        self._steps = steps
        self._per_pass = per_pass
        self._longest = patience * per_pass
        self._costs = costs[0], costs[1] * len(held)
        self._batch_size = batch_size
        self._ledger = ledger
        self.done = 0
        self._best: tuple[float, int] = (math.inf, 0)
        self._state: dict[str, torch.Tensor] = {}
        self._count(self._looks(steps))

    def nbytes(self, module: torch.nn.Module) -> int:
        """Bytes of memory that the validation rows and a best state of ``module`` take."""
        state = sum(int(value.nbytes) for value in module.state_dict().values())
        return self._held.nbytes + state

    def is_due(self, done: int) -> bool:
        """Whether to look after so many steps; not twice."""
        return done > self.done and (done % self._per_pass == 0 or done == self._steps)

    def look(self, module: torch.nn.Module, model: torch.nn.Module, done: int) -> None:
        """Compare the validation loss with the best so far, and decide whether to go on.

        Args:
            module: What is trained, whose state is kept; in training mode afterwards.
            model: What answers.
            done: Steps done.
        """
        blocks = ((block["x"], block["y"]) for block in self._held.blocks())
        loss = mean_losses({"": model}, blocks, self._task)[""]
        module.train()
        self.done = done
        if loss < self._best[0]:
            self._best = loss, done
            # A copy: the state itself is changed by the next step.
            self._state = {n: value.detach().clone() for n, value in module.state_dict().items()}
        self.over = done < self._steps and done - self._best[1] >= self._longest

    def restore(self, module: torch.nn.Module) -> None:
        """Put the best state back, if any was finite."""
        if self._state:
            module.load_state_dict(self._state)

    def settle(self) -> None:
        """Give the ledger back what steps and looks that were not done would have cost."""
        steps = self._steps - self.done
        looks = self._looks(self._steps) - self._looks(self.done)
        self._ledger.flops -= steps * self._costs[0]
        self._ledger.rows_seen -= steps * self._batch_size
        self._ledger.unspent += float(steps * self._costs[0] + looks * self._costs[1])
        self._count(-looks)

    def _count(self, looks: int) -> None:
        ledger, flops = self._ledger, float(looks * self._costs[1])
        ledger.flops += flops
        ledger.detail["validation"] = ledger.detail.get("validation", 0.0) + flops

    def _looks(self, done: int) -> int:
        whole, rest = divmod(done, self._per_pass)
        return 1 + whole + bool(rest and done == self._steps)

    def state_dict(self) -> dict[str, Any]:
        """The best so far, for a checkpoint."""
        return {"done": self.done, "best": self._best, "state": self._state}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.done, self._best = state_dict["done"], state_dict["best"]
        self._state = state_dict["state"]
