"""Training of base and specialists."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from shoal.settings.user_code import Calling
from shoal.training.batches import MemoryRows, RowStream
from shoal.training.flops import step_flops
from shoal.training.loop import Begun, run_steps
from shoal.training.module import trainable
from shoal.training.processes import random_state, set_random_state, visible_devices

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from shoal.formats.ledger import Ledger
    from shoal.settings.learning import Training
    from shoal.training.resume import Checkpoints, Part


def train_on_shards(
    model: torch.nn.Module,
    shards: Sequence[Path],
    training: Training,
    task: str,
    ledger: Ledger,
    *,
    rows: int = 0,
    flops: float = 0,
    checkpoints: Checkpoints | None = None,
    part: Part | None = None,
) -> int:
    """Train ``model`` in place on every training row, for so many rows or so many FLOPs.

    All GPUs that the job sees take part; call ``end_helpers`` before writing.

    Args:
        model: The user's model.
        shards: Encoded shards, streamed.
        training: Loss, optimiser and order.
        task: ``classification`` or ``regression``.
        ledger: Is charged.
        rows: Rows to see, repeats counted; or
        flops: FLOPs to spend, if above zero.
        checkpoints: The job's.
        part: The part of the training that is done now; all of it if not given.

    Returns:
        Rows of the training fold.
    """
    stream = RowStream(
        shards, ("x", "y"), training.batch_size, 1, training.buffer_rows, training.seed
    )
    module = trainable(model, training, task)
    batch = next(iter(stream))
    with calling(model, batch):
        cost = step_flops(module, batch)
    steps = flops / cost if flops else rows / stream.batch_size
    stream.steps = max(1, math.ceil(steps))
    own = part.steps(stream.steps) if part else stream.steps
    ledger.flops += own * cost
    ledger.rows_seen += own * stream.batch_size
    with calling(model):
        run_steps(module, stream, stream.steps, checkpoints, visible_devices(), part)
    stream.close()
    return stream.training_rows


def train_on_rows(
    model: torch.nn.Module,
    arrays: Mapping[str, NDArray[Any]],
    training: Training,
    task: str,
    rows: int,
    ledger: Ledger,
    checkpoints: Checkpoints | None = None,
    part: Part | None = None,
) -> None:
    """Train ``model`` in place on rows in memory until it has seen about ``rows`` rows.

    Args:
        model: The user's model.
        arrays: ``x`` and ``y``, in canonical order.
        training: Loss, optimiser and order.
        task: ``classification`` or ``regression``.
        rows: Rows to see, repeats counted.
        ledger: Is charged.
        checkpoints: The job's.
        part: The part of the training that is done now; all of it if not given.
    """
    begun = begin_on_rows(model, arrays, training, task, rows, ledger, checkpoints, part, {})
    with calling(model):
        begun.run()
        begun.close()


def begin_on_rows(
    model: torch.nn.Module,
    arrays: Mapping[str, NDArray[Any]],
    training: Training,
    task: str,
    rows: int,
    ledger: Ledger,
    checkpoints: Checkpoints | None,
    part: Part | None,
    costs: dict[Hashable, int],
) -> Begun:
    """A training as of :func:`train_on_rows` whose steps are yet to be done.

    Args:
        model: The user's model.
        arrays: ``x`` and ``y``, in canonical order.
        training: Loss, optimiser and order.
        task: ``classification`` or ``regression``.
        rows: Rows to see, repeats counted.
        ledger: Is charged, for all of its steps.
        checkpoints: The job's.
        part: The part of the training that is done now; all of it if not given.
        costs: FLOPs of a step by shape of a batch, as earlier trainings of the same kind of model
            found them.
    """
    batch_size = min(training.batch_size, len(arrays["y"]))
    steps = max(1, math.ceil(rows / batch_size))
    stream = MemoryRows((arrays["x"], arrays["y"]), batch_size, steps, training.seed)
    module = trainable(model, training, task)
    own = part.steps(steps) if part else steps
    shape = (batch_size, *arrays["x"].shape[1:])
    if shape not in costs:
        batch, draws = next(iter(stream)), random_state()
        with calling(model, batch):
            costs[shape] = step_flops(module, batch)
        set_random_state(draws)  # the same for all, whoever counted
    ledger.flops += own * costs[shape]
    ledger.rows_seen += own * batch_size
    with calling(model):
        return Begun(module, stream, steps, checkpoints, 1, part)


def calling(model: torch.nn.Module, batch: Sequence[torch.Tensor] = ()) -> Calling:
    """A block that calls the user's model; what goes wrong with a batch says what that is."""
    kind = type(model)
    parts = [_described(name, part) for name, part in zip("xy", batch, strict=False)]
    hint = f"; a batch is (x, y): {', '.join(parts)}" if parts else ""
    return Calling(kind, f"model {kind.__module__}.{kind.__qualname__}", "its training", hint)


def _described(name: str, part: torch.Tensor) -> str:
    shape = ", ".join(["B", *map(str, part.shape[1:])]) + ("," if part.ndim == 1 else "")
    return f"{name} {str(part.dtype).removeprefix('torch.')} of shape ({shape})"
