"""The kernels by which torch multiplies, chosen before it is imported."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

VARIABLE = "MKL_CBWR"
"""MKL's variable for reproducible results, "conditional numerical reproducibility"."""


def choose_kernels() -> None:
    """Have torch round a row's products alike at every place of a batch, unless the user chose.

    MKL's kernels for AVX2 do so on AMD's processors. On Intel's they do in the strict mode alone:
    without it 193 of 323 shapes of a matrix product depended on a row's place, with it none.
    """
    os.environ.setdefault(VARIABLE, "AVX2,STRICT" if _is_intel() else "AVX2")


def _is_intel() -> bool:
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open() as file:
        return "GenuineIntel" in file.read(1000)
    return False
