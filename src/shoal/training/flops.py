"""FLOPs of models, by torch's formulas and some that it lacks.

Imports no Lightning and no compiler, which are slow.
"""

from __future__ import annotations

import copy
import inspect
import math
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.backends import mha
from torch.utils.flop_counter import (
    FlopCounterMode,
    _FlopCounterMode,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

from shoal.errors import ModelError
from shoal.training.module import Supervised, is_lightning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pytorch_lightning as pl

    Shape = Sequence[int]


class Counting(_FlopCounterMode):  # type: ignore[no-untyped-call]
    """Has a ``FlopCounterMode`` count what is called within it, all modules together.

    Entered itself, that one attributes FLOPs to modules, and imports the compiler in order to be
    skipped by it, which takes longer than the import of all of torch.
    """

    __torch_dispatch__ = inspect.unwrap(_FlopCounterMode.__torch_dispatch__)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


@contextmanager
def counting() -> Iterator[FlopCounterMode]:
    """Counts the FLOPs of what is called within it, on the CPU, forward and backward.

    These are of matrix products, convolutions, attention and recurrent layers; element-wise work
    and the search for rows of an embedding are not counted. Encoders of transformers are not fused,
    so that a forward pass counts what it counts in training.
    """
    counter = FlopCounterMode(display=False, custom_mapping=_MORE)
    fused = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    try:
        with Counting(counter):
            yield counter
    finally:
        mha.set_fastpath_enabled(fused)


def step_flops(module: Supervised | pl.LightningModule, batch: Sequence[torch.Tensor]) -> int:
    """FLOPs of one forward and backward pass over a batch, counted on a copy of the module.

    See :func:`counting`.

    Raises:
        ModelError: The step gives no loss, or counts no FLOPs.
    """
    twin = copy.deepcopy(module).cpu().train()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*trying to `self.log.*")
        with counting() as counter, torch.enable_grad():
            _loss(twin, twin.training_step(tuple(batch), *_number(twin))).backward()
    flops = int(counter.get_total_flops())
    if not flops:
        kind = type(module.model if isinstance(module, Supervised) else module)
        raise ModelError(
            f"model {kind.__module__}.{kind.__qualname__}: a training step counts no FLOPs, in "
            f"which budgets are kept: it has no matrix product, convolution, attention or "
            f"recurrent layer; add one, or a formula by "
            f"torch.utils.flop_counter.register_flop_formula"
        )
    return flops


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
    with counting() as counter, torch.no_grad():
        call(twin)(*rows)
    return int(counter.get_total_flops())


def _recurrent(x: Shape, inputs: Shape, states: Shape, *_: object, **__: object) -> int:
    """Products of each step's input and state with the weights of all gates."""
    return 2 * math.prod(x[:-1]) * (math.prod(inputs) + math.prod(states))


def _recurrent_backward(*shapes: Any, **__: object) -> int:  # noqa: ANN401 - an operation's arguments
    """Two products for each of the forward pass: gradients of weights, and of inputs or states."""
    return 2 * _recurrent(*shapes)


def _attention(query: Shape, key: Shape, value: Shape, *_: object, **__: object) -> int:
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def _attention_backward(
    gradient: Shape, query: Shape, key: Shape, value: Shape, *_: object, **__: object
) -> int:
    flops = sdpa_backward_flop_count(gradient, query, key, value)  # type: ignore[no-untyped-call]
    return int(flops)


def _with_vector(matrix: Shape, *_: object, **__: object) -> int:
    return 2 * math.prod(matrix)


def _added_with_vector(_added: Shape, matrix: Shape, *_: object, **__: object) -> int:
    return 2 * math.prod(matrix)


def _added_batches(_added: Shape, left: Shape, right: Shape, *_: object, **__: object) -> int:
    return 2 * math.prod(left) * right[-1]


def _trilinear(
    one: Shape,
    two: Shape,
    three: Shape,
    new_in_one: Sequence[int],
    new_in_two: Sequence[int],
    new_in_three: Sequence[int],
    *_: object,
    **__: object,
) -> int:
    """Two for each element of the product of three tensors, once they have the same axes."""
    whole: list[int] = []
    for shape, new in ((one, new_in_one), (two, new_in_two), (three, new_in_three)):
        full = list(shape)
        for axis in new:
            full.insert(axis, 1)
        whole = list(map(max, whole, full)) if whole else full
    return 2 * math.prod(whole)


_ATEN = torch.ops.aten
_MORE = {
    _ATEN.mkldnn_rnn_layer: _recurrent,
    _ATEN.mkldnn_rnn_layer_backward: _recurrent_backward,
    _ATEN._scaled_dot_product_flash_attention_for_cpu: _attention,
    _ATEN._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    _ATEN.mv: _with_vector,
    _ATEN.dot: _with_vector,
    _ATEN.addmv: _added_with_vector,
    _ATEN.addbmm: _added_batches,
    _ATEN._trilinear: _trilinear,
}
"""Formulas for operations of the CPU to which torch's counter gives no FLOPs."""
