"""The state of every global source of random numbers, taken and put back."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from shoal.training.processes import of_all, place


def random_state() -> dict[str, Any]:
    """State of every global source of random numbers; of torch's in each process."""
    return {
        "torch": of_all(torch.get_rng_state()),
        "cuda": of_all(torch.cuda.get_rng_state()) if torch.cuda.is_available() else [],
        "numpy": np.random.get_state(),  # noqa: NPY002 - a user's module may draw from it
        "python": random.getstate(),
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put back what :func:`random_state` gave."""
    number = place()[0]
    torch.set_rng_state(state["torch"][number])
    if state["cuda"]:
        torch.cuda.set_rng_state(state["cuda"][number])
    np.random.set_state(state["numpy"])  # noqa: NPY002 - see above
    random.setstate(state["python"])
