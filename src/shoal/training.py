"""Running a LightningModule for a number of steps."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch

from shoal.errors import ModelError

if TYPE_CHECKING:
    from torch.utils.data import IterableDataset


class _StopWhenNotFinite(pl.Callback):
    """Ends training at the first loss that is not a number."""

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401 - whatever the module's training_step returns
        *_: Any,  # noqa: ANN401
    ) -> None:
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if not torch.isfinite(loss).all():
            raise ModelError(
                f"{type(pl_module).__name__}: the loss became {loss.item()} at step "
                f"{trainer.global_step} of {trainer.max_steps}; "
                f"lower the learning rate or look for extreme values in the inputs"
            )


def run_steps(
    module: pl.LightningModule, batches: IterableDataset[tuple[torch.Tensor, ...]], steps: int
) -> None:
    """Train ``module`` in place for ``steps`` optimiser steps, on a GPU where there is one.

    Raises:
        ModelError: The loss is not finite; the message names the step.
    """
    module.train()
    loader: Any = torch.utils.data.DataLoader(batches, batch_size=None)
    with warnings.catch_warnings():
        # Data is already in memory or streamed by this process: workers would not help.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # A user's module may log; without a logger that is no mistake.
        warnings.filterwarnings("ignore", message=".*You called `self.log.*")
        # Lightning 2.6 itself uses what torch 2.13 deprecates.
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
        logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
        trainer = pl.Trainer(
            max_steps=steps,
            accelerator="auto",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[_StopWhenNotFinite()],
        )
        trainer.fit(module, loader)
    module.cpu()
