"""The same bits for the same work: kernels, threads, random generators.

Imports no torch, before which the kernels have to be chosen.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = "MKL_CBWR"
"""MKL's variable for reproducible results, "conditional numerical reproducibility"."""


def usual_kernels() -> str:
    """The value of the variable with which torch rounds a row alike at every place of a batch.

    MKL's kernels for AVX2 do so on AMD's processors. On Intel's they do in the strict mode alone:
    without it 193 of 323 shapes of a matrix product depended on a row's place, with it none.
    """
    return "AVX2,STRICT" if _is_intel() else "AVX2"


def _is_intel() -> bool:
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open() as file:
        return "GenuineIntel" in file.read(1000)
    return False


def deterministic(threads: int) -> None:
    """Make torch give the same bits for the same work: fixed threads, deterministic kernels."""
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # With the next line, what use_deterministic_algorithms sets; but that imports the compiler to
    # set its part, which takes longer than all of torch.
    os.environ.setdefault("TORCHINDUCTOR_DETERMINISTIC", "1")
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("error")


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
