"""The same bits for the same work. Imports no Lightning, which is slow."""

from __future__ import annotations

import gc
import os
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def deterministic(threads: int) -> None:
    """Make torch give the same bits for the same work: fixed threads, deterministic kernels."""
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)


@contextmanager
def as_if_alone(threads: int) -> Iterator[None]:
    """Run a block with torch's settings as in a new process; random generators are put back."""
    import numpy as np
    import torch

    deterministic(threads)
    dtype = torch.get_default_dtype()
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002 - a user's model may use the global one
        torch.set_rng_state(states[2])
        torch.set_default_dtype(dtype)
        # Trainer and optimiser refer to each other and hold a device's memory. What is left is
        # modules, at which the next collection need not look: 0.3 s.
        gc.collect()
        gc.freeze()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
