"""AdamW by torch's fused kernel, without ``torch.optim``, whose import takes a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    Tensors = list[torch.Tensor]

BETA1, BETA2 = 0.9, 0.999

_KERNEL = getattr(torch, "_fused_adamw_", None)


def adamw_(
    parameters: Tensors,
    gradients: Tensors,
    means: Tensors,
    squares: Tensors,
    counts: Tensors,
    lr: float,
    weight_decay: float,
    epsilon: float,
) -> None:
    """One step of AdamW in place, with the bits of ``torch.optim.AdamW(fused=True)``.

    torch's kernel is private. Where a version of torch has none, its public function is called.

    Args:
        parameters: Tensors to change, float32.
        gradients: Of the same shapes.
        means: Running means of the gradients.
        squares: Running means of their squares.
        counts: Steps done, float32 of no dimension, for each parameter.
        lr: Learning rate of this step.
        weight_decay: Decay per step, times the rate.
        epsilon: Is added to the roots of the squares.
    """
    largest: Tensors = []  # of squares, kept by AMSGrad alone
    tensors = (parameters, gradients, means, squares, largest, counts)
    options: dict[str, Any] = {
        "lr": lr,
        "beta1": BETA1,
        "beta2": BETA2,
        "weight_decay": weight_decay,
        "eps": epsilon,
        "amsgrad": False,
        "maximize": False,
    }
    if _KERNEL is None:
        from torch.optim.adamw import adamw

        adamw(*tensors, fused=True, **options)
        return
    torch._foreach_add_(counts, 1)
    _KERNEL(*tensors, **options)
