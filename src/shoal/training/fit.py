"""Training of base and specialists."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from shoal.settings.user_code import Calling
from shoal.training.batches import MemoryRows, RowStream
from shoal.training.early import EarlyStopping
from shoal.training.flops import forward_flops, step_flops
from shoal.training.loop import Begun, run_steps
from shoal.training.module import trainable
from shoal.training.processes import random_state, set_random_state, visible_devices
from shoal.training.tasks import rules

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from shoal.formats.ledger import Ledger
    from shoal.formats.shapes import Shapes
    from shoal.settings.learning import Training
    from shoal.training.early import Held
    from shoal.training.fixed import Fixed
    from shoal.training.resume import Checkpoints, Part


def train_on_shards(
    model: torch.nn.Module,
    shards: Sequence[Path],
    training: Training,
    shapes: Shapes,
    ledger: Ledger,
    *,
    rows: int | Callable[[int], int] = 0,
    flops: float = 0,
    checkpoints: Checkpoints | None = None,
    part: Part | None = None,
    held: Held | None = None,
) -> int:
    """Train ``model`` in place on every training row, for so many rows or so many FLOPs at most.

    All GPUs that the job sees take part; call ``end_helpers`` before writing.

    Args:
        model: The user's model.
        shards: Encoded shards, streamed.
        training: Loss, optimiser and order.
        shapes: Shapes of rows and labels.
        ledger: Is charged.
        rows: Rows to see, repeats counted, or a function that gives them of the training rows; or
        flops: FLOPs to spend, if above zero.
        checkpoints: The job's.
        part: The part of the training that is done now; all of it if not given.
        held: Validation rows by which it may stop early, if the settings say so.

    Returns:
        Rows of the training fold.
    """
    stream = RowStream(
        shards, ("x", "y"), training.batch_size, 1, training.buffer_rows, training.seed
    )
    module = trainable(model, training, shapes)
    batch = next(iter(stream))
    with calling(model, batch):
        cost = step_flops(module, batch)
        look = _look_flops(model, batch, shapes.task) if held else 0
    seen = rows if isinstance(rows, int) else rows(stream.training_rows)
    a_step = cost + look * len(held or ()) / stream.per_pass
    steps = flops / a_step if flops else seen / stream.batch_size
    stream.steps = max(1, math.ceil(steps))
    own = part.steps(stream.steps) if part else stream.steps
    ledger.flops += own * cost
    ledger.rows_seen += own * stream.batch_size
    stopping = _stopping(held, training, shapes.task, stream, stream.steps, (cost, look), ledger)
    with calling(model):
        run_steps(module, stream, stream.steps, checkpoints, visible_devices(), part, stopping)
    stream.close()
    return stream.training_rows


def train_on_rows(
    model: torch.nn.Module,
    arrays: Mapping[str, NDArray[Any]],
    training: Training,
    shapes: Shapes,
    rows: int,
    ledger: Ledger,
    checkpoints: Checkpoints | None = None,
    part: Part | None = None,
    held: Held | None = None,
    fixed: Fixed | None = None,
) -> None:
    """Train ``model`` in place on rows in memory until it has seen about ``rows`` rows, at most.

    Args:
        model: The user's model.
        arrays: ``x`` and ``y``, in canonical order.
        training: Loss, optimiser and order.
        shapes: Shapes of rows and labels.
        rows: Rows to see, repeats counted.
        ledger: Is charged.
        checkpoints: The job's.
        part: The part of the training that is done now; all of it if not given.
        held: Validation rows by which it may stop early, if the settings say so.
        fixed: Weights that it leaves as they are.
    """
    begun = begin_on_rows(
        model, arrays, training, shapes, rows, ledger, checkpoints, part, {}, held, fixed
    )
    with calling(model):
        begun.whole()


def begin_on_rows(
    model: torch.nn.Module,
    arrays: Mapping[str, NDArray[Any]],
    training: Training,
    shapes: Shapes,
    rows: int,
    ledger: Ledger,
    checkpoints: Checkpoints | None,
    part: Part | None,
    costs: dict[Hashable, int],
    held: Held | None = None,
    fixed: Fixed | None = None,
) -> Begun:
    """A training as of :func:`train_on_rows` whose steps are yet to be done.

    Args:
        model: The user's model.
        arrays: ``x`` and ``y``, in canonical order.
        training: Loss, optimiser and order.
        shapes: Shapes of rows and labels.
        rows: Rows to see, repeats counted.
        ledger: Is charged, for all of its steps; what it leaves of them comes back at its end.
        checkpoints: The job's.
        part: The part of the training that is done now; all of it if not given.
        costs: FLOPs of a step by shape of a batch, and of a row, as earlier trainings of the same
            kind of model found them.
        held: Validation rows by which it may stop early, if the settings say so.
        fixed: Weights that it leaves as they are.
    """
    batch_size = min(training.batch_size, len(arrays["y"]))
    steps = max(1, math.ceil(rows / batch_size))
    stream = MemoryRows((arrays["x"], arrays["y"]), batch_size, steps, training.seed)
    module = trainable(model, training, shapes)
    own = part.steps(steps) if part else steps
    shape = (batch_size, *arrays["x"].shape[1:])
    looks = training.patience is not None
    if shape not in costs or (looks and "row" not in costs):
        batch, draws = next(iter(stream)), random_state()
        with calling(model, batch):
            costs[shape] = step_flops(module, batch)
            if looks:
                costs["row"] = _look_flops(model, batch, shapes.task)
        set_random_state(draws)  # the same for all, whoever counted
    ledger.flops += own * costs[shape]
    ledger.rows_seen += own * batch_size
    each = costs[shape], costs.get("row", 0)
    stopping = _stopping(held, training, shapes.task, stream, steps, each, ledger)
    with calling(model):
        return Begun(module, stream, steps, checkpoints, 1, part, stopping, fixed)


def _stopping(
    held: Held | None,
    training: Training,
    task: str,
    batches: RowStream | MemoryRows,
    steps: int,
    costs: tuple[int, int],
    ledger: Ledger,
) -> EarlyStopping | None:
    """Early stopping of the training; None where the settings say nothing, or no row is held."""
    if training.patience is None or not held:
        return None
    patience, per_pass, size = training.patience, batches.per_pass, batches.batch_size
    return EarlyStopping(held, task, patience, steps, per_pass, size, costs, ledger)


def _look_flops(model: torch.nn.Module, batch: Sequence[torch.Tensor], task: str) -> int:
    """FLOPs of a model's answer about one row."""
    return forward_flops(model, *(part[:1] for part in batch), call=rules(task).answer)


def calling(model: torch.nn.Module, batch: Sequence[torch.Tensor] = ()) -> Calling:
    """A block that calls the user's model; what goes wrong with a batch says what that is."""
    kind = type(model)
    parts = [_described(name, part) for name, part in zip("xy", batch, strict=False)]
    hint = f"; a batch is (x, y): {', '.join(parts)}" if parts else ""
    return Calling(kind, f"model {kind.__module__}.{kind.__qualname__}", "its training", hint)


def _described(name: str, part: torch.Tensor) -> str:
    shape = ", ".join(["B", *map(str, part.shape[1:])]) + ("," if part.ndim == 1 else "")
    return f"{name} {str(part.dtype).removeprefix('torch.')} of shape ({shape})"
