"""The processes of one training, one a device; most trainings have one."""

from __future__ import annotations

import os

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
    met = place()[1]
    counts = (met, 1) if met > 1 else range(devices, 0, -1)
    return next(count for count in counts if batch_size % count == 0)


def rank() -> int:
    """Rank of this process, also before the processes have met."""
    return int(os.environ.get("LOCAL_RANK", "0")) if place() == ALONE else place()[0]


def place() -> tuple[int, int]:
    """Rank of this process and number of processes, once they have met."""
    if not distributed.is_available() or not distributed.is_initialized():
        return ALONE
    return distributed.get_rank(), distributed.get_world_size()


def of_first(number: int) -> int:
    """The number that the first process gives, in all of them."""
    if place() == ALONE:
        return number
    told = torch.tensor(number, device=_meeting_place())
    distributed.broadcast(told, 0)
    return int(told)


def of_all(tensor: torch.Tensor) -> list[torch.Tensor]:
    """The tensors that the processes give, by rank, on the CPU; equal in shape and type."""
    if place() == ALONE:
        return [tensor.cpu()]
    own = tensor.to(_meeting_place())
    found = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(found, own)
    return [one.cpu() for one in found]


def end_helpers() -> None:
    """End the processes that only helped to train: the first one alone writes what follows.

    Raises:
        SystemExit: In every process but the first.
    """
    if place()[0] > 0:
        raise SystemExit(0)


def _meeting_place() -> torch.device:
    """Where tensors must lie to be exchanged."""
    if distributed.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
