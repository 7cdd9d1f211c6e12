"""Bins of the reports of what a pool is asked, by what it says of validation rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal_edge.report import BINS, told

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shoal.formats.documents.judgement import BinEdges


def bin_edges(distance: NDArray[np.float32], answer: NDArray[Any], task: str) -> BinEdges:
    """Edges that part validation rows evenly, see :class:`shoal_edge.report.Bins`.

    Args:
        distance: To the nearest prototype ``(rows,)``.
        answer: The pool's answers, see :func:`shoal_edge.report.told`.
        task: The task.
    """
    confidence, prediction = told(answer, task)
    is_number = task == "regression"
    return {
        "distance": _even(distance, BINS - 1),
        "confidence": _even(confidence, BINS),
        "prediction": _even(prediction if is_number else None, BINS),
    }


def _even(values: NDArray[Any] | None, parts: int) -> list[float]:
    """Quantiles to four digits: so they lie between rows, and a patch tells them in few bytes."""
    known = np.empty(0) if values is None else values[np.isfinite(values)].astype(np.float64)
    if not len(known):
        return []
    edges = np.quantile(known, np.arange(1, parts) / parts).tolist()
    return [float(f"{edge:.4g}") for edge in edges]
