"""Running a LightningModule for a number of steps, through interruptions.

Everything beside the steps is a callback of Lightning's: :class:`_Keep` saves the state,
:class:`LearningCurve` keeps the losses, :func:`run_steps` lists them. A callback with
``state_dict`` and ``load_state_dict`` goes on from a checkpoint as the training does.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.exceptions import SIGTERMException

from shoal.errors import DivergedError, ModelError, ShoalError
from shoal.formats.checkpoint import SafetensorsIO, read_checkpoint, write_checkpoint
from shoal.training.processes import (
    ALONE,
    RandomState,
    of_first,
    random_state,
    rank,
    rank_and_count,
    set_random_state,
    sharing,
)
from shoal.training.resume import say_once

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from shoal.formats.ledger import Ledger
    from shoal.training.batches import MemoryRows, RowStream
    from shoal.training.resume import Checkpoint, Checkpoints, Part

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
        *_: object,
    ) -> None:
        """Add the loss of a step."""
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


TERMINATED = 128 + signal.SIGTERM
"""Exit code of a process that SIGTERM has ended."""

_SAVE_AND_END = 2
"""Decision of the first process before a step; 1 is to save, 0 to go on."""


class _PartIsOverError(Exception):
    """A part of the training has ended."""


class _Keep(pl.Callback):
    """Saves the state at intervals, when the process is told to end, and where a part ends.

    It does so before a step, not after one: then all that a module does after a step is done.
    """

    def __init__(self, slot: Checkpoint | None, stop: int, left: Path | None) -> None:
        self.told_to_end = False
        self._shared = False
        self._slot = slot
        self._stop = stop
        self._left = left
        self._over = False
        self._due = time.monotonic() + (slot.seconds if slot else math.inf)
        self._random: RandomState | None = None

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        _refuse_schedules_by_epoch(trainer, module)
        # In place of Lightning's handler, after which nothing could be saved exactly. When the
        # training ends, Lightning puts back what was there before.
        if self._slot and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._tell_to_end)
        self.told_to_end = trainer.received_sigterm
        self._shared = rank_and_count() != ALONE
        # Not the same draws for other rows.
        if trainer.global_rank:
            torch.manual_seed(torch.initial_seed() + trainer.global_rank)

    def on_train_batch_start(self, trainer: pl.Trainer, _: pl.LightningModule, *__: object) -> None:
        if self._random is not None:
            set_random_state(self._random)
            self._random = None
        progress = trainer.fit_loop.epoch_loop.batch_progress
        if self._left and progress.current.completed == self._stop:
            self._over = True
            trainer.save_checkpoint(self._left, weights_only=False)
            raise _PartIsOverError
        wish = self.told_to_end + (self.told_to_end or time.monotonic() >= self._due)
        if self._shared:
            wish = of_first(wish)
        # Lightning would not go on from before the last step; but then it is soon over.
        if not wish or progress.is_last_batch:
            return
        if self._slot:
            self._save(trainer, self._slot)
        if wish == _SAVE_AND_END:
            _end()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, _: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        done = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        own = {"batches": done, "random": random_state()}
        checkpoint["shoal"] = _head(self._slot, self._left if self._over else None) | own

    def on_load_checkpoint(
        self, _: pl.Trainer, __: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._random = checkpoint["shoal"]["random"]

    def finish(self, module: pl.LightningModule, curve: list[list[float]]) -> None:
        """Keep the weights of a training that is over, where the job has more to do for long."""
        slot = self._slot
        lasts = slot is not None and slot.ledger.seconds >= slot.seconds
        wish = of_first(self.told_to_end + (self.told_to_end or lasts))
        if slot and wish and not self._over:
            own = slot.head() | {"random": random_state(), "learning_curve": curve}
            content = {"shoal": own, "finished": module.state_dict()}
            with suppress(ShoalError):
                _write_once(slot.path, content)
        if wish == _SAVE_AND_END:
            _end()

    def _tell_to_end(self, *_: object) -> None:
        self.told_to_end = True

    def _save(self, trainer: pl.Trainer, slot: Checkpoint) -> None:
        try:
            trainer.save_checkpoint(slot.path, weights_only=False)
        except ShoalError as error:
            say_once(f"{error}: this training cannot go on where it is ended")
            self._slot = None
        self._due = time.monotonic() + slot.seconds


def _refuse_schedules_by_epoch(trainer: pl.Trainer, module: pl.LightningModule) -> None:
    """Refuse a schedule that steps by epoch: a training is one epoch, so it would do nothing."""
    if not module.automatic_optimization:
        return
    for config in trainer.lr_scheduler_configs:
        if config.interval != "step":
            raise ModelError(
                f"{type(module).__name__}: configure_optimizers returns a "
                f"{type(config.scheduler).__name__} that steps once per epoch, but a training is "
                f'one epoch; let it step with the optimiser: {{"optimizer": optimizer, '
                f'"lr_scheduler": {{"scheduler": scheduler, "interval": "step"}}}}'
            )


def _head(slot: Checkpoint | None, left: Path | None) -> dict[str, object]:
    """Facts that a checkpoint holds about its training; none in a state for other jobs.

    Args:
        slot: The job's checkpoint.
        left: File of a part's state; None where the state is a checkpoint.
    """
    return slot.head() if slot and left in (None, slot.path) else {}


def _write_once(path: Path, content: Mapping[str, object]) -> None:
    if rank_and_count()[0] == 0:
        write_checkpoint(path, content)


def _end() -> NoReturn:
    # A helper that ends otherwise makes Lightning kill the first process, which may not be ready.
    raise SystemExit(TERMINATED if rank_and_count()[0] == 0 else 0)


def _machine() -> dict[str, object]:
    """Device and libraries, on which the bits of a training depend."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {
        "device": device,
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "lightning": pl.__version__,  # type: ignore[attr-defined]
        "numpy": np.__version__,
    }


def run_steps(
    module: pl.LightningModule,
    batches: RowStream | MemoryRows,
    steps: int,
    checkpoints: Checkpoints | None = None,
    devices: int = 1,
    part: Part | None = None,
) -> None:
    """Train ``module`` in place for ``steps`` optimiser steps, on a GPU where there is one.

    On several devices each takes an equal share of every batch, so a step is the same step but
    for the order of sums. The first training of a job that does so starts the command again for
    each further device; the caller ends these helpers by ``end_helpers`` before it writes.

    A training that was ended goes on from its last checkpoint, if it is the same training, with
    the bits that it would have had. SIGTERM saves a checkpoint and ends the process.

    Args:
        module: The model; a checkpoint holds its ``state_dict``, and what its hook
            ``on_save_checkpoint`` adds.
        batches: Yields as many batches as there are steps.
        steps: Optimiser steps.
        checkpoints: The job's; none are kept without.
        devices: Devices at most; as many take part as a batch has equal shares.
        part: The part of the training that is done now; all of it if not given.

    Raises:
        DivergedError: The loss is not finite; the message names the step.
        SystemExit: The process was told to end.
    """
    module.train()
    devices = sharing(batches.batch_size, devices)
    stop = part.stop(steps) if part else steps
    facts = {"steps": steps, "stop": stop, "devices": devices, **_machine()}
    slot = checkpoints.next(facts) if checkpoints else None
    kept = slot.read() if slot else None
    resumed = slot.path if slot and kept else part.begun if part else None
    begun = read_checkpoint(resumed) if resumed and not kept else kept
    # The state of a part holds no times, so that it is the same whenever it is made.
    curve = LearningCurve(slot.ledger if slot and not part else None)
    if begun and "finished" in begun:
        module.load_state_dict(begun["finished"])
        set_random_state(begun["shoal"]["random"])
        curve.points = begun["shoal"]["learning_curve"]
    else:
        if begun:
            batches.start = begun["shoal"]["batches"]
            say_once(f"goes on after step {batches.start} of {steps}")
        keep = _Keep(slot, stop, part.left if part and stop < steps else None)
        if devices > 1:
            batches.share = (rank(), devices)
        _fit(_trainer(steps, devices, [keep, curve]), module, batches, resumed)
        module.cpu()
        keep.finish(module, curve.points)
    if slot:
        slot.ledger.learning_curves.append(curve.points)
    if part and stop == steps:
        own = _head(slot, part.left) | {"random": random_state(), "learning_curve": curve.points}
        _write_once(part.left, {"shoal": own, "finished": module.state_dict()})


def _fit(
    trainer: pl.Trainer,
    module: pl.LightningModule,
    batches: RowStream | MemoryRows,
    resumed: Path | None,
) -> None:
    loader: Any = torch.utils.data.DataLoader(batches, batch_size=None)
    with warnings.catch_warnings():
        # Data is already in memory or streamed by this process: workers would not help.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # A user's module may log; without a logger that is no mistake.
        warnings.filterwarnings("ignore", message=".*You called `self.log.*")
        # Where Slurm is installed: a training is no task that srun starts.
        warnings.filterwarnings("ignore", message=".*`srun` command is available.*")
        # Lightning 2.6 itself uses what torch 2.13 deprecates.
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
        try:
            trainer.fit(module, loader, ckpt_path=resumed)
        except SIGTERMException:  # where no handler of ours is, or not yet
            _end()
        except _PartIsOverError:
            pass


def _trainer(steps: int, devices: int, callbacks: list[pl.Callback]) -> pl.Trainer:
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    on_gpu = torch.cuda.is_available()
    # A user's module may leave parameters unused, as it may on one device.
    shared = DDPStrategy(
        find_unused_parameters=True, process_group_backend="nccl" if on_gpu else "gloo"
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*`srun` command is available.*")
        return pl.Trainer(
            max_steps=steps,
            accelerator="auto",
            devices=devices,
            strategy=shared if devices > 1 else "auto",
            sync_batchnorm=on_gpu and devices > 1,
            # The environment: Slurm starts the job, but no process of the training.
            plugins=[SafetensorsIO(), LightningEnvironment()],
            # Under Slurm, Lightning would look here for checkpoints of its own.
            default_root_dir=os.devnull,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=callbacks,
        )
