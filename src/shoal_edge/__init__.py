"""Pools on devices: asked for predictions and kept up to date, without torch.

It imports nothing of the package ``shoal``, but numpy, safetensors, zstandard and the standard
library; and onnxruntime for models that are not Shoal's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shoal_edge.pool import Pool

__all__ = ["Pool"]


def __getattr__(name: str) -> object:
    """The pool, imported when it is asked for: the workflow imports parts of this package."""
    if name != "Pool":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from shoal_edge.pool import Pool

    return Pool
