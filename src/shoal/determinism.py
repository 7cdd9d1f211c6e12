"""The same bits for the same work; apart from training, since Lightning is slow to import."""

from __future__ import annotations

import os


def deterministic(threads: int) -> None:
    """Make torch give the same bits for the same work: fixed threads, deterministic kernels."""
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
