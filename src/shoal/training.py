"""Running a LightningModule for a number of steps, through interruptions."""

from __future__ import annotations

import logging
import math
import os
import random
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

from shoal.checkpoint import SafetensorsIO, write_checkpoint
from shoal.errors import ShoalError
from shoal.learning_curve import LearningCurve
from shoal.processes import ALONE, of_all, of_first, place, rank, sharing
from shoal.resume import say_once

if TYPE_CHECKING:
    from pathlib import Path

    from shoal.resume import Checkpoints, Slot
    from shoal.streaming import MemoryRows, RowStream

TERMINATED = 128 + signal.SIGTERM
"""Exit code of a process that SIGTERM has ended."""

_SAVE_AND_END = 2
"""What the first process may wish before a step; 1 is to save, 0 nothing."""


class _Keep(pl.Callback):
    """Keeps the state every so often, and when the process is told to end.

    It does so before a step, not after one: then all that a module does after a step is done.
    """

    def __init__(self, slot: Slot | None) -> None:
        self.told_to_end = False
        self._shared = False
        self._slot = slot
        self._due = time.monotonic() + (slot.seconds if slot else math.inf)
        self._random: dict[str, Any] | None = None

    def on_train_start(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        # In place of Lightning's handler, after which nothing could be saved exactly. When the
        # training ends, Lightning puts back what was there before.
        if self._slot and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._tell_to_end)
        self.told_to_end = trainer.received_sigterm
        self._shared = place() != ALONE
        # Not the same draws for other rows.
        if trainer.global_rank:
            torch.manual_seed(torch.initial_seed() + trainer.global_rank)

    def on_train_batch_start(self, trainer: pl.Trainer, _: pl.LightningModule, *__: object) -> None:
        if self._random is not None:
            _set_random_state(self._random)
            self._random = None
        wish = self.told_to_end + (self.told_to_end or time.monotonic() >= self._due)
        if self._shared:
            wish = of_first(wish)
        # Lightning would not go on from before the last step; but then it is soon over.
        if not wish or trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return
        if self._slot:
            self._save(trainer, self._slot)
        if wish == _SAVE_AND_END:
            _end()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, _: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self._slot:
            done = trainer.fit_loop.epoch_loop.batch_progress.current.completed
            own = {"batches": done, "random": _random_state()}
            checkpoint["shoal"] = self._slot.head() | own

    def on_load_checkpoint(
        self, _: pl.Trainer, __: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._random = checkpoint["shoal"]["random"]

    def finish(self, module: pl.LightningModule, curve: list[list[float]]) -> None:
        """Keep the weights of a training that is over, where the job has more to do for long."""
        slot = self._slot
        lasts = slot is not None and slot.ledger.seconds >= slot.seconds
        wish = of_first(self.told_to_end + (self.told_to_end or lasts))
        if slot and wish:
            own = slot.head() | {"random": _random_state(), "learning_curve": curve}
            content = {"shoal": own, "finished": module.state_dict()}
            with suppress(ShoalError):
                if place()[0] == 0:
                    write_checkpoint(slot.path, content)
        if wish == _SAVE_AND_END:
            _end()

    def _tell_to_end(self, *_: object) -> None:
        self.told_to_end = True

    def _save(self, trainer: pl.Trainer, slot: Slot) -> None:
        try:
            trainer.save_checkpoint(slot.path, weights_only=False)
        except ShoalError as error:
            say_once(f"{error}: this training cannot go on where it is ended")
            self._slot = None
        self._due = time.monotonic() + slot.seconds


def _end() -> NoReturn:
    # A helper that ends otherwise makes Lightning kill the first process, which may not be ready.
    raise SystemExit(TERMINATED if place()[0] == 0 else 0)


def _random_state() -> dict[str, Any]:
    """State of every global source of random numbers; of torch's in each process."""
    return {
        "torch": of_all(torch.get_rng_state()),
        "cuda": of_all(torch.cuda.get_rng_state()) if torch.cuda.is_available() else [],
        "numpy": np.random.get_state(),  # noqa: NPY002 - a user's module may draw from it
        "python": random.getstate(),
    }


def _machine() -> dict[str, Any]:
    """What else the bits of a training depend on."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {
        "device": device,
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "lightning": pl.__version__,  # type: ignore[attr-defined]
        "numpy": np.__version__,
    }


def _set_random_state(state: dict[str, Any]) -> None:
    number = place()[0]
    torch.set_rng_state(state["torch"][number])
    if state["cuda"]:
        torch.cuda.set_rng_state(state["cuda"][number])
    np.random.set_state(state["numpy"])  # noqa: NPY002 - see above
    random.setstate(state["python"])


def run_steps(
    module: pl.LightningModule,
    batches: RowStream | MemoryRows,
    steps: int,
    checkpoints: Checkpoints | None = None,
    devices: int = 1,
) -> None:
    """Train ``module`` in place for ``steps`` optimiser steps, on a GPU where there is one.

    On several devices each takes an equal share of every batch, so a step is the same step but
    for the order of sums. The first training of a job that does so starts the command again for
    each further device; the caller ends these helpers by ``end_helpers`` before it writes.

    A training that was ended goes on from its last checkpoint, if it is the same training, with
    the bits that it would have had. SIGTERM saves a checkpoint and ends the process.

    Args:
        module: The model; what a checkpoint has to hold of it is in its ``state_dict``, or what
            its hook ``on_save_checkpoint`` adds.
        batches: Yields as many batches as there are steps.
        steps: Optimiser steps.
        checkpoints: The job's; none are kept without.
        devices: Devices at most; as many take part as a batch has equal shares.

    Raises:
        ModelError: The loss is not finite; the message names the step.
        SystemExit: The process was told to end.
    """
    module.train()
    devices = sharing(batches.batch_size, devices)
    facts = {"steps": steps, "devices": devices, **_machine()}
    slot = checkpoints.next(facts) if checkpoints else None
    kept = slot.read() if slot else None
    if slot and kept and "finished" in kept:
        module.load_state_dict(kept["finished"])
        _set_random_state(kept["shoal"]["random"])
        slot.ledger.learning_curves.append(kept["shoal"]["learning_curve"])
        return
    if kept:
        batches.start = kept["shoal"]["batches"]
        say_once(f"goes on after step {batches.start} of {steps}")
    keep, curve = _Keep(slot), LearningCurve(slot.ledger if slot else None)
    if devices > 1:
        batches.share = (rank(), devices)
    trainer = _trainer(steps, devices, keep, curve)
    _fit(trainer, module, batches, slot.path if slot and kept else None)
    module.cpu()
    if slot:
        slot.ledger.learning_curves.append(curve.points)
    keep.finish(module, curve.points)


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


def _trainer(steps: int, devices: int, keep: _Keep, curve: LearningCurve) -> pl.Trainer:
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
            callbacks=[keep, curve],
        )
