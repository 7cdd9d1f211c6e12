"""Steps of a plain module on one device, without Lightning and ``torch.optim``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch

from shoal.formats.checkpoint import write_checkpoint
from shoal.training.adam import adamw_
from shoal.training.processes import random_state, set_random_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from shoal.training.batches import MemoryRows, RowStream
    from shoal.training.curve import LearningCurve
    from shoal.training.early import EarlyStopping
    from shoal.training.fixed import Fixed
    from shoal.training.keep import Keep
    from shoal.training.module import Supervised

    Batch = tuple[torch.Tensor, ...]

ALIGNMENT = 16
"""float32 numbers in 64 bytes, at a multiple of which each parameter begins in a row."""


class Row:
    """A module's trained parameters in one row, beside their gradients and AdamW's moments.

    One call of the optimiser then changes them all. While the row is held, the parameters are
    views of it.

    Attributes:
        parameters: The trained parameters.
        numbers: Parameters, gradients and the two moments, float32 ``(4, size)``.
        count: Steps done, float32.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        """Move the parameters into a row."""
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        _, size = places(p.numel() for p in self.parameters)
        device = self.parameters[0].device if self.parameters else "cpu"
        self.numbers = torch.zeros(4, size, device=device)
        self.count = torch.zeros((), device=device)
        shapes = [p.shape for p in self.parameters]
        for parameter, value in zip(self.parameters, views(self.numbers[0], shapes), strict=True):
            value.copy_(parameter.data)
            parameter.data = value
        self._gradients = views(self.numbers[1], shapes)

    def differentiate(self, loss: torch.Tensor) -> None:
        """Find the gradient; that of a parameter that the loss does not use is zero."""
        found = torch.autograd.grad(loss, self.parameters, materialize_grads=True)
        torch._foreach_copy_(self._gradients, list(found))

    def step(self, lr: float, weight_decay: float, epsilon: float) -> None:
        """One step of AdamW along the gradient."""
        values, gradients, means, squares = ([row] for row in self.numbers)
        adamw_(values, gradients, means, squares, [self.count], lr, weight_decay, epsilon)

    def state(self) -> dict[str, Any]:
        """Moments and count, for a checkpoint."""
        return {"moments": self.numbers[2:], "count": self.count}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on with what :meth:`state` gave."""
        self.numbers[2:] = state["moments"]
        self.count.copy_(state["count"])

    def release(self) -> None:
        """Give the parameters storage of their own."""
        for parameter in self.parameters:
            parameter.data = parameter.data.clone()


def places(sizes: Iterable[int]) -> tuple[list[int], int]:
    """Where parameters of some sizes begin in a row, and the row's size."""
    found, place = [], 0
    for size in sizes:
        found.append(place)
        place += -(-size // ALIGNMENT) * ALIGNMENT
    return found, place


def views(rows: torch.Tensor, shapes: Iterable[torch.Size]) -> list[torch.Tensor]:
    """Parameters as views of rows.

    Args:
        rows: ``(…, size)``.
        shapes: Of the parameters, in order.

    Returns:
        ``(…, *shape)`` for each.
    """
    shapes = list(shapes)
    begins, _ = places(shape.numel() for shape in shapes)
    return [
        rows[..., begin : begin + shape.numel()].view(*rows.shape[:-1], *shape)
        for begin, shape in zip(begins, shapes, strict=True)
    ]


class LeanRun:
    """A training of a plain module, step by step, on a GPU where there is one.

    Attributes:
        module: The model with its loss.
        row: Its parameters.
        batch_size: Rows per step.
        held: Bytes that it holds from its beginning to its end: rows, and its best state.
        done: Steps done.
        ahead: The batch of the next step, once :meth:`next` has drawn it.
        keep: Says when to save.
        failure: Why the training has ended early; None where it has not.
        random: State of all random numbers when it began.
        fetch: Brings the row up to date, where its numbers are elsewhere.
        seconds: Time that its steps took, its share where it stepped with others.
        since: When it began to step alone; None where it does not.
    """

    def __init__(
        self,
        module: Supervised,
        batches: RowStream | MemoryRows,
        batch_size: int,
        steps: int,
        keep: Keep,
        curve: LearningCurve,
        begun: Mapping[str, Any] | None,
        stopping: EarlyStopping | None = None,
        fixed: Fixed | None = None,
    ) -> None:
        """Begin, or go on.

        Args:
            module: The model with its loss, trained in place.
            batches: Yields the batches of the steps that are left.
            batch_size: Rows of each.
            steps: Steps of the whole training.
            keep: Says when to save.
            curve: Gets the losses.
            begun: State from which the training goes on.
            stopping: Ends it early, at its best state.
            fixed: Weights that it leaves as they are.
        """
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.module = module.to(self._device)
        self.row = Row(module)
        self.batch_size = batch_size
        self.held = 0
        self.done = 0
        self.ahead: Batch | None = None
        self.keep = keep
        self.failure: Exception | None = None
        self.fetch: Callable[[], None] | None = None
        self.seconds = 0.0
        self.since: float | None = None
        self._batches = iter(batches)
        self._per_pass = batches.per_pass
        self._steps = steps
        self._curve = curve
        self._stopping = stopping
        self._fixed = fixed
        if begun:
            self.done = begun["shoal"]["batches"]
            module.load_state_dict(begun["state"])
            self.row.load(begun["optimizer"])
            curve.load_state_dict(begun["curve"])
            if stopping:
                stopping.load_state_dict(begun["stopping"])
            set_random_state(begun["shoal"]["random"])
        self.random = random_state()

    def clock(self) -> float:
        """Seconds that its steps have taken so far."""
        return self.seconds + (time.perf_counter() - self.since if self.since else 0.0)

    def steps(self) -> None:
        """Do all steps that are left.

        Raises:
            DivergedError: The loss is not finite.
            SystemExit: The process was told to end.
        """
        with self.keep.listening():
            while (batch := self.next()) is not None:
                self.keep.act(self.keep.wish(), self.save)
                self.add(self.step(batch))
            self.finish()

    def next(self) -> Batch | None:
        """The batch of the next step, on the training's device; None where none is left.

        Where a part of the training ends here, its state is saved. Until :meth:`add` it is the same
        batch.
        """
        is_over = self.keep.over or (self._stopping is not None and self._stopping.over)
        if self.ahead is None and self.failure is None and not is_over:
            batch = next(self._batches, None)
            if batch is not None and not self.keep.ends_part(self.done, self.save):
                self.ahead = tuple(part.to(self._device) for part in batch)
        return self.ahead

    def step(self, batch: Batch) -> float:
        """Change the parameters by one step; its loss."""
        loss = self.module.training_step(batch)
        self.row.differentiate(loss)
        self.row.step(*self.rates)
        if self._fixed:
            self._fixed.put_back()
        return float(loss.detach())

    @property
    def rates(self) -> tuple[float, float, float]:
        """Learning rate, weight decay and epsilon of the next step."""
        rate = self.module.rate(self.done, self._steps, self._per_pass)
        return rate, self.module.weight_decay, self.module.epsilon

    def add(self, loss: float) -> None:
        """Count a step and its loss, and look at validation rows if it is time.

        Raises:
            DivergedError: It is not finite.
        """
        self.ahead = None
        self.done += 1
        self._curve.add(self.done, loss)
        if self._stopping and self._stopping.is_due(self.done):
            if self.fetch is not None:
                self.fetch()
            self._stopping.look(self.module, self.module.model, self.done)

    def save(self, path: Path) -> None:
        """Write the state, with which another process goes on."""
        draws = random_state()
        if self.fetch is not None:
            self.fetch()
            draws = self.random
        content = {"shoal": self.keep.head(self.done, draws), "state": self.module.state_dict()}
        content |= {"optimizer": self.row.state(), "curve": self._curve.state_dict()}
        if self._stopping:
            content["stopping"] = self._stopping.state_dict()
        write_checkpoint(path, content)

    def finish(self) -> None:
        """Leave the trained module on the CPU, with parameters of its own, and no rows."""
        self._batches = iter(())
        self.row.release()
        self.module.cpu()
        if self._stopping:
            self._stopping.restore(self.module)
        self.keep.finish(self.module, self._curve.points, self.done)
