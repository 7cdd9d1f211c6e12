"""FLOPs of models, by torch's formulas. Imports no Lightning and no compiler, which are slow."""

from __future__ import annotations

import copy
import inspect
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.flop_counter import FlopCounterMode, _FlopCounterMode

from shoal.errors import ModelError
from shoal.training.module import is_lightning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytorch_lightning as pl

    from shoal.training.module import Supervised


class Counting(_FlopCounterMode):  # type: ignore[no-untyped-call]
    """Has a ``FlopCounterMode`` count what is called within it, all modules together.

    Entered itself, that one attributes FLOPs to modules, and imports the compiler in order to be
    skipped by it, which takes longer than the import of all of torch.
    """

    __torch_dispatch__ = inspect.unwrap(_FlopCounterMode.__torch_dispatch__)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


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
        with Counting(counter), torch.enable_grad():
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


def forward_flops(
    module: torch.nn.Module,
    *rows: torch.Tensor,
    call: Callable[[torch.nn.Module], Callable[..., object]] = lambda module: module,
) -> int:
    """FLOPs of a call about rows, counted on a copy of the module.

    Args:
        module: The module.
        rows: What is given to the call.
        call: Finds the call; the forward pass by default.
    """
    twin = copy.deepcopy(module).cpu().eval()
    counter = FlopCounterMode(display=False)
    with Counting(counter), torch.no_grad():
        call(twin)(*rows)
    return int(counter.get_total_flops())
