"""FLOPs of models, counted by torch. Imports no Lightning, which is slow."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from shoal.errors import ModelError
from shoal.training.module import is_lightning

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytorch_lightning as pl

    from shoal.training.module import Supervised


def step_flops(module: Supervised | pl.LightningModule, batch: Sequence[torch.Tensor]) -> int:
    """FLOPs of one forward and backward pass over a batch, counted on a copy of the module.

    Matrix products, convolutions and attention are counted; element-wise work is not.

    Raises:
        ModelError: The step gives no loss.
    """
    twin = copy.deepcopy(module).cpu().train()
    counter = FlopCounterMode(display=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*trying to `self.log.*")
        with counter, torch.enable_grad():
            _loss(twin, twin.training_step(tuple(batch), *_number(twin))).backward()
    return int(counter.get_total_flops())


def _loss(module: torch.nn.Module, result: Any) -> Any:  # noqa: ANN401 - backward has no types
    """The loss that a ``training_step`` gave, on its own or in a mapping."""
    loss = result.get("loss") if isinstance(result, dict) else result
    if isinstance(loss, torch.Tensor):
        return loss
    given = "None" if result is None else f"a {type(result).__name__}"
    raise ModelError(
        f"{type(module).__name__}: training_step gives {given}, not a loss: a tensor, or a dict "
        f"with one under 'loss'"
    )


def _number(module: Supervised | pl.LightningModule) -> tuple[int, ...]:
    """The batch's number, where ``training_step`` takes it: as Lightning decides."""
    if not is_lightning(module):
        return ()
    from pytorch_lightning.utilities.signature_utils import is_param_in_hook_signature

    step = module.training_step
    return (0,) if is_param_in_hook_signature(step, "batch_idx", min_args=2) else ()


def forward_flops(module: torch.nn.Module, x: torch.Tensor) -> int:
    """FLOPs of the forward pass over ``x``, counted on a copy of the module."""
    twin = copy.deepcopy(module).cpu().eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        twin(x)
    return int(counter.get_total_flops())
