"""The kernels by which torch multiplies, chosen before it is imported."""

from __future__ import annotations

import contextlib
from pathlib import Path

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
