"""FLOPs of models, counted by torch; apart from training, since Lightning is slow to import."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytorch_lightning as pl


def step_flops(module: pl.LightningModule, batch: Sequence[torch.Tensor]) -> int:
    """FLOPs of one forward and backward pass over a batch, counted on a copy of the module.

    Matrix products, convolutions and attention are counted; element-wise work is not.
    """
    twin = copy.deepcopy(module).cpu().train()
    counter = FlopCounterMode(display=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*trying to `self.log.*")
        with counter, torch.enable_grad():
            result: Any = twin.training_step(tuple(batch), 0)
            loss = result["loss"] if isinstance(result, dict) else result
            loss.backward()
    return int(counter.get_total_flops())


def forward_flops(module: torch.nn.Module, x: torch.Tensor) -> int:
    """FLOPs of the forward pass over ``x``, counted on a copy of the module."""
    twin = copy.deepcopy(module).cpu().eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        twin(x)
    return int(counter.get_total_flops())
