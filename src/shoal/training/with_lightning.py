"""Steps of a LightningModule, of a module on several devices, and of what the lean loop leaves.

Everything beside the steps is a callback of Lightning's: :class:`_Keep` saves the state,
:class:`_Curve` keeps the losses, :class:`_Stop` ends a training early, :class:`_Passes` steps
schedules that a module steps by epoch; :func:`lightning_steps` lists them. A callback with
``state_dict`` and ``load_state_dict`` goes on from a checkpoint as the training does.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.plugins.io import CheckpointIO
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch.optim.lr_scheduler import ReduceLROnPlateau

from shoal.errors import ModelError
from shoal.formats.checkpoint import read_checkpoint, write_checkpoint
from shoal.training.keep import end
from shoal.training.module import Supervised, is_lightning
from shoal.training.processes import (
    ALONE,
    of_first,
    random_state,
    rank,
    rank_and_count,
    set_random_state,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytorch_lightning.loops.progress import _ReadyCompletedTracker

    from shoal.training.batches import MemoryRows, RowStream
    from shoal.training.curve import LearningCurve
    from shoal.training.early import EarlyStopping
    from shoal.training.fixed import Fixed
    from shoal.training.keep import Keep
    from shoal.training.processes import RandomState

_HYPER_PARAMETERS = ("hyper_parameters", "hparams_name", "hparams_type")


class SafetensorsIO(CheckpointIO):
    """Lightning's checkpoints as safetensors files."""

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | os.PathLike[str],
        storage_options: object = None,
    ) -> None:
        """Write a checkpoint.

        The arguments that a LightningModule was built with are left out: settings build it again.
        """
        del storage_options
        kept = {name: checkpoint[name] for name in checkpoint if name not in _HYPER_PARAMETERS}
        write_checkpoint(path, kept)

    def load_checkpoint(
        self, path: str | os.PathLike[str], *_: object, **__: object
    ) -> dict[str, Any]:
        """Read a checkpoint."""
        return read_checkpoint(path)

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Remove a checkpoint's file."""
        Path(path).unlink(missing_ok=True)


class _Wrapped(pl.LightningModule):
    """A plain module with its loss, as the lean loop trains it."""

    def __init__(self, module: Supervised, per_pass: int) -> None:
        super().__init__()
        self.module = module
        self._per_pass = per_pass

    def training_step(self, batch: tuple[torch.Tensor, ...], _: int) -> torch.Tensor:
        """Loss of one batch."""
        return self.module.training_step(batch)

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own type is a union
        """AdamW at the rates of the settings' schedule."""
        steps = int(self.trainer.estimated_stepping_batches)
        optimizer = torch.optim.AdamW(
            self.parameters(),
            lr=1.0,
            weight_decay=self.module.weight_decay,
            eps=self.module.epsilon,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: self.module.rate(step, steps, self._per_pass)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


class _Curve(pl.Callback):
    """Gives each loss to the learning curve."""

    def __init__(self, curve: LearningCurve) -> None:
        self._curve = curve

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        _: pl.LightningModule,
        outputs: Any,  # noqa: ANN401 - whatever the module's training_step returns
        *__: object,
    ) -> None:
        """Add the loss of a step."""
        loss = float((outputs["loss"] if isinstance(outputs, dict) else outputs).mean())
        # All processes of a training end it together: what comes after it may need them all.
        if trainer.world_size > 1 and trainer.strategy.reduce_boolean_decision(
            not math.isfinite(loss), all=False
        ):
            self._curve.refuse(trainer.global_step, loss)
        self._curve.add(trainer.global_step, loss)

    def state_dict(self) -> dict[str, Any]:
        """The curve so far, for a checkpoint."""
        return self._curve.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with a curve of a checkpoint."""
        self._curve.load_state_dict(state_dict)


class _IsOverError(Exception):
    """The training ends before its steps are done: a part of it has, or it stops early."""


class _Passes(pl.Callback):
    """Steps schedules by epoch after each pass over the rows; to Lightning all is one epoch."""

    def __init__(self, per_pass: int) -> None:
        self._per_pass = per_pass

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        for scheduler, _ in _by_epoch(trainer, module):
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ModelError(
                    f"{type(module).__name__}: configure_optimizers returns a "
                    f"{type(scheduler).__name__} that steps once per epoch by a metric, but none "
                    f"is logged; return a scheduler that steps without one"
                )

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, *_: object
    ) -> None:
        passes, rest = divmod(_batches(trainer).ready, self._per_pass)
        for scheduler, frequency in () if rest else _by_epoch(trainer, module):
            if passes % frequency == 0:
                scheduler.step()


def _by_epoch(trainer: pl.Trainer, module: pl.LightningModule) -> Iterator[tuple[Any, int]]:
    """Schedulers that step by epoch, and after how many epochs."""
    for config in trainer.lr_scheduler_configs if module.automatic_optimization else ():
        if config.interval != "step":
            yield config.scheduler, config.frequency


def _batches(trainer: pl.Trainer) -> _ReadyCompletedTracker:
    """How many batches have begun and are over."""
    return trainer.fit_loop.epoch_loop.batch_progress.current


class _Stop(pl.Callback):
    """Looks at validation rows before the step after each pass; all that a module does is done."""

    def __init__(self, stopping: EarlyStopping, module: Supervised | pl.LightningModule) -> None:
        self._stopping = stopping
        self._module = module
        self._answering = module.model if isinstance(module, Supervised) else module

    def on_train_batch_start(self, trainer: pl.Trainer, *_: object) -> None:
        done = _batches(trainer).completed
        if not self._stopping.is_due(done):
            return
        self._stopping.look(self._module, self._answering, done)
        # The first process decides for all: sums may differ between devices.
        if of_first(int(self._stopping.over)):
            raise _IsOverError

    def on_train_end(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        done = _batches(trainer).completed
        if done > self._stopping.done:
            self._stopping.look(self._module, self._answering, done)

    def state_dict(self) -> dict[str, Any]:
        """The best so far, for a checkpoint."""
        return self._stopping.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._stopping.load_state_dict(state_dict)


class _Fix(pl.Callback):
    """Puts weights that a training leaves as they are back after each step."""

    def __init__(self, fixed: Fixed) -> None:
        self._fixed = fixed

    def on_train_batch_end(self, *_: object) -> None:
        self._fixed.put_back()


class _Keep(pl.Callback):
    """Saves the state before a step, when :class:`shoal.training.keep.Keep` says so."""

    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self._random: RandomState | None = None

    def on_train_start(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        # In place of Lightning's handler, after which nothing could be saved exactly. When the
        # training ends, Lightning puts back what was there before.
        if self._keep.has_slot and threading.current_thread() is threading.main_thread():
            self._keep.listen()
        self._keep.told_to_end = trainer.received_sigterm
        # Not the same draws for other rows.
        if trainer.global_rank:
            torch.manual_seed(torch.initial_seed() + trainer.global_rank)

    def on_train_batch_start(self, trainer: pl.Trainer, _: pl.LightningModule, *__: object) -> None:
        if self._random is not None:
            set_random_state(self._random)
            self._random = None

        def save(path: Path) -> None:
            trainer.save_checkpoint(path, weights_only=False)

        if self._keep.ends_part(_batches(trainer).completed, save):
            raise _IsOverError
        wish = self._keep.wish()
        if rank_and_count() != ALONE:
            wish = of_first(wish)
        # Lightning would not go on from before the last step; but then it is soon over.
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._keep.act(wish, save)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, _: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        done = _batches(trainer).completed
        checkpoint["shoal"] = self._keep.head(done, random_state())

    def on_load_checkpoint(
        self, _: pl.Trainer, __: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._random = checkpoint["shoal"]["random"]


def lightning_steps(
    module: Supervised | pl.LightningModule,
    batches: RowStream | MemoryRows,
    steps: int,
    keep: Keep,
    curve: LearningCurve,
    devices: int,
    resumed: Path | None,
    stopping: EarlyStopping | None = None,
    fixed: Fixed | None = None,
) -> None:
    """Train a module in place.

    Args:
        module: A LightningModule, or a plain module with its loss.
        batches: Yields the batches of the steps that are left.
        steps: Steps of the whole training.
        keep: Says when to save.
        curve: Gets the losses.
        devices: Each takes an equal share of every batch.
        resumed: File of the state from which the training goes on.
        stopping: Ends it early, at its best state.
        fixed: Weights that it leaves as they are.

    Raises:
        DivergedError: The loss is not finite.
        SystemExit: The process was told to end.
    """
    if devices > 1:
        batches.share = (rank(), devices)
    per_pass = batches.per_pass
    own = module if is_lightning(module) else _Wrapped(module, per_pass)
    callbacks: list[pl.Callback] = [_Keep(keep), _Curve(curve), _Passes(per_pass)]
    if stopping:
        callbacks.insert(0, _Stop(stopping, module))
    if fixed:
        callbacks.insert(0, _Fix(fixed))
    _fit(_trainer(steps, devices, callbacks), own, batches, resumed)
    module.cpu()
    if stopping:
        stopping.restore(module)
    keep.finish(module, curve.points, stopping.done if stopping else None)


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
            end()
        except _IsOverError:
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
