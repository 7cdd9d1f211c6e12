"""Running a module for a number of steps, through interruptions."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from shoal.formats.checkpoint import read_checkpoint
from shoal.training.curve import LearningCurve
from shoal.training.determinism import VARIABLE
from shoal.training.keep import Keep, write_whole
from shoal.training.lean import LeanRun
from shoal.training.module import Supervised, is_lean
from shoal.training.processes import set_random_state, sharing
from shoal.training.resume import say_once

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from shoal.training.batches import MemoryRows, RowStream
    from shoal.training.early import EarlyStopping
    from shoal.training.fixed import Fixed
    from shoal.training.resume import Checkpoints, Part


def run_steps(
    module: Supervised | pl.LightningModule,
    batches: RowStream | MemoryRows,
    steps: int,
    checkpoints: Checkpoints | None = None,
    devices: int = 1,
    part: Part | None = None,
    stopping: EarlyStopping | None = None,
    fixed: Fixed | None = None,
) -> None:
    """Train ``module`` in place for ``steps`` optimiser steps at most, on a GPU if there is one.

    A plain module on one device trains in :mod:`shoal.training.lean`, everything else in
    Lightning, which is imported then; see :func:`shoal.training.module.is_lean`.

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
        stopping: Ends it early, at its best state; there are no parts then.
        fixed: Weights that it leaves as they are.

    Raises:
        DivergedError: The loss is not finite; the message names the step.
        SystemExit: The process was told to end.
    """
    Begun(module, batches, steps, checkpoints, devices, part, stopping, fixed).whole()


class Begun:
    """A training that has begun, or goes on: :meth:`run` does its steps, :meth:`close` ends it.

    Attributes:
        lean: Its steps, where they are done without Lightning and some are left; else None.
    """

    def __init__(
        self,
        module: Supervised | pl.LightningModule,
        batches: RowStream | MemoryRows,
        steps: int,
        checkpoints: Checkpoints | None,
        devices: int,
        part: Part | None,
        stopping: EarlyStopping | None = None,
        fixed: Fixed | None = None,
    ) -> None:
        """Find what was kept of it; see :func:`run_steps`."""
        module.train()
        self._module = module
        self._batches = batches
        self._steps = steps
        self._devices = sharing(batches.batch_size, devices)
        self._part = part
        self._stopping = stopping
        self._fixed = fixed
        self.lean: LeanRun | None = None
        plain = module if is_lean(module, self._devices) else None
        stop = part.stop(steps) if part else steps
        own = {"steps": steps, "stop": stop, "devices": self._devices}
        facts = {**own, **_machine(plain is not None)}
        slot = self._slot = checkpoints.next(facts) if checkpoints else None
        kept = slot.read() if slot else None
        self._resumed = slot.path if slot and kept else part.begun if part else None
        begun = read_checkpoint(self._resumed) if self._resumed and not kept else kept
        # The state of a part holds no times, so that it is the same whenever it is made.
        ledger = slot.ledger if slot and not part else None
        named = module.model if isinstance(module, Supervised) else module
        if stopping and begun is None:
            stopping.look(module, named, 0)
        self._curve = LearningCurve(type(named).__name__, steps, ledger)
        self._is_whole = part is not None and stop == steps
        self._over = bool(begun and "finished" in begun)
        if begun and self._over:
            self._take(begun)
            return
        if begun:
            batches.start = begun["shoal"]["batches"]
            say_once(f"goes on after step {batches.start} of {steps}")
        self._keep = Keep(slot, stop, part.left if part and stop < steps else None)
        if plain is not None:
            self.lean = LeanRun(
                plain,
                batches,
                batches.batch_size,
                steps,
                self._keep,
                self._curve,
                begun,
                stopping,
                fixed,
            )
            self.lean.held = batches.held + (stopping.nbytes(plain) if stopping else 0)

    def _take(self, finished: dict[str, Any]) -> None:
        self._module.load_state_dict(finished["finished"])
        set_random_state(finished["shoal"]["random"])
        self._curve.points = finished["shoal"]["learning_curve"]
        if self._stopping:
            self._stopping.done = finished["shoal"]["done"]

    def run(self) -> None:
        """Do the steps that are left."""
        if self._over:
            return
        if self.lean is not None:
            self.lean.steps()
            return
        from shoal.training.with_lightning import lightning_steps

        lightning_steps(
            self._module,
            self._batches,
            self._steps,
            self._keep,
            self._curve,
            self._devices,
            self._resumed,
            self._stopping,
            self._fixed,
        )

    def whole(self) -> None:
        """Do the steps that are left, and end it."""
        self.run()
        self.close()

    def close(self) -> None:
        """Hand curve and cost to the ledger, and the state to the next part; drop the rows."""
        del self._batches
        if self._stopping:
            self._stopping.settle()
        if self._slot:
            self._slot.ledger.learning_curves.append(self._curve.points)
        if self._part and self._is_whole:
            write_whole(self._part.left, self._slot, self._module, self._curve.points)


def _machine(lean: bool) -> dict[str, object]:
    """Device, libraries and method, on which the bits of a training depend."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {
        "device": device,
        "threads": torch.get_num_threads(),
        "kernels": os.environ.get(VARIABLE, "unset"),
        "torch": str(torch.__version__),
        "lightning": None if lean else _lightning(),
        "numpy": np.__version__,
    }


def _lightning() -> str:
    from importlib.metadata import version

    return version("pytorch-lightning")
