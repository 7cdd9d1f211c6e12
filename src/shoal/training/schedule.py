"""The learning rate of each step."""

from __future__ import annotations

import functools
import json
import math
from typing import TYPE_CHECKING

from shoal.errors import ModelError
from shoal.formats.hashing import canonical_json
from shoal.settings.targets import import_target
from shoal.settings.user_code import Calling, check_arguments

if TYPE_CHECKING:
    from shoal.settings.learning import Training


def rate_of(training: Training, step: int, steps: int, per_pass: int) -> float:
    """Learning rate of a step.

    It first rises in a line, over the share ``warm_up`` of the steps. Then it is constant, or falls
    by half a cosine over the steps that are left, or is what the user's scheduler says of the pass.

    Args:
        training: Rate, schedule and warm-up.
        step: Steps done before; all of them after the last.
        steps: Steps of the whole training.
        per_pass: Steps of a pass over the training rows.

    Raises:
        ModelError: The user's scheduler does not work.
    """
    rising = math.floor(training.warm_up * steps)
    if step < rising:
        return training.lr * (step + 1) / rising
    if training.schedule == "constant":
        return training.lr
    if training.schedule == "cosine":
        return training.lr * 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))
    own = training.schedule
    passes = -(-steps // per_pass)
    rates = _rates(own.target, canonical_json(own.arguments()), training.lr, passes)
    return rates[min(step // per_pass, passes - 1)]


@functools.lru_cache(maxsize=1024)
def _rates(target: str, arguments: str, lr: float, passes: int) -> tuple[float, ...]:
    """Rates of all passes, as a scheduler says them that steps after each.

    Args:
        target: Dotted path of the scheduler.
        arguments: Its arguments beside the optimiser, JSON.
        lr: Rate that it begins from.
        passes: How many passes there are.
    """
    import torch

    kind, place = import_target(target, "scheduler"), f"train_specialists.schedule {target}"
    own = json.loads(arguments)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    check_arguments(kind, place, optimizer, **own)
    rates = []
    with Calling(kind, place, "its steps"):
        scheduler = kind(optimizer, **own)
        for _ in range(passes):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            scheduler.step()
    wrong = next((n for n, rate in enumerate(rates) if not (rate >= 0 and math.isfinite(rate))), -1)
    if wrong >= 0:
        raise ModelError(f"{place}: gives the rate {rates[wrong]} for pass {wrong + 1}")
    return tuple(rates)
