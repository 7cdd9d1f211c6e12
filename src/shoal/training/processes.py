"""The processes of one training, one per device (most have one), and their random numbers."""

from __future__ import annotations

import os
import random
from typing import Any, TypedDict

import numpy as np
import torch
from torch import distributed

ALONE = (0, 1)
"""Rank and number of a process that trains alone."""


def visible_devices() -> int:
    """GPUs that this job may use; one device, the CPU, where there are none."""
    return max(1, torch.cuda.device_count())


def sharing(batch_size: int, devices: int) -> int:
    """The most devices, up to ``devices``, that can take equal shares of a batch.

    Processes that have met in an earlier training of the job all take part, or each trains alone.
    """
    met = rank_and_count()[1]
    counts = (met, 1) if met > 1 else range(devices, 0, -1)
    return next(count for count in counts if batch_size % count == 0)


def rank() -> int:
    """Rank of this process, also before the processes have met."""
    met = rank_and_count() != ALONE
    return distributed.get_rank() if met else int(os.environ.get("LOCAL_RANK", "0"))


def rank_and_count() -> tuple[int, int]:
    """Rank of this process and number of processes, once they have met."""
    if not distributed.is_available() or not distributed.is_initialized():
        return ALONE
    return distributed.get_rank(), distributed.get_world_size()


def of_first(number: int) -> int:
    """The number that the first process gives, in all of them."""
    if rank_and_count() == ALONE:
        return number
    shared = torch.tensor(number, device=_exchange_device())
    distributed.broadcast(shared, 0)
    return int(shared)


def of_all(tensor: torch.Tensor) -> list[torch.Tensor]:
    """The tensors that the processes give, by rank, on the CPU; equal in shape and type."""
    if rank_and_count() == ALONE:
        return [tensor.cpu()]
    own = tensor.to(_exchange_device())
    gathered = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(gathered, own)
    return [share.cpu() for share in gathered]


def end_helpers() -> None:
    """End all processes but the first, which alone writes the results.

    Raises:
        SystemExit: In every process but the first.
    """
    if rank_and_count()[0] > 0:
        raise SystemExit(0)


def _exchange_device() -> torch.device:
    if distributed.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


class RandomState(TypedDict):
    """State of every global source of random numbers; of torch's in each process."""

    torch: list[torch.Tensor]
    cuda: list[torch.Tensor]
    numpy: Any
    python: Any


def random_state() -> RandomState:
    """The current state of every global source of random numbers."""
    return {
        "torch": of_all(torch.get_rng_state()),
        "cuda": of_all(torch.cuda.get_rng_state()) if torch.cuda.is_available() else [],
        "numpy": np.random.get_state(),  # noqa: NPY002 - a user's module may draw from it
        "python": random.getstate(),
    }


def set_random_state(state: RandomState) -> None:
    """Set what :func:`random_state` returned."""
    number = rank_and_count()[0]
    torch.set_rng_state(state["torch"][number])
    if state["cuda"]:
        torch.cuda.set_rng_state(state["cuda"][number])
    np.random.set_state(state["numpy"])  # noqa: NPY002 - see above
    random.setstate(state["python"])
