"""Fitted steps of a pool's transform that keep every row, applied to rows to predict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal_edge.errors import EdgeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from shoal_edge.columns import Source

_OF_TRAINING = ("noise", "mask", "swap", "filter", "drop_duplicates", "balance")
"""Steps that leave rows to predict as they are."""


class Steps:
    """The steps in order."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        """Keep those that change rows to predict.

        Args:
            document: Content of the pool's ``transform.json``.

        Raises:
            EdgeError: One is none that devices know.
        """
        self._steps = [step for step in document["steps"] if not _is_of_training(step)]
        for step in self._steps:
            if step["step"] not in ("impute", "clip", "log"):
                raise EdgeError(f"transforms rows by {step['step']!r}, which devices do not have")

    def apply(self, columns: dict[str, NDArray[Any]], source: Source) -> None:
        """Change typed columns in place.

        Raises:
            EdgeError: A value has no logarithm.
        """
        for step in self._steps:
            for column in step["columns"]:
                if column in columns:
                    columns[column] = _applied(step, column, columns[column], source)


def _is_of_training(step: Mapping[str, Any]) -> bool:
    options = step["options"]
    return (
        step["step"] in _OF_TRAINING
        or options.get("training_only") is True
        or (step["step"] == "reverse_complement" and options.get("share") is not None)
    )


def _applied(
    step: Mapping[str, Any], column: str, values: NDArray[Any], source: Source
) -> NDArray[Any]:
    if step["step"] == "impute":
        fill = step["fitted"][column]
        missing = values == np.array(None) if values.dtype == object else np.isnan(values)
        filled: NDArray[Any] = np.where(missing, fill, values)
        return filled
    if step["step"] == "clip":
        low, high = step["fitted"][column]
        clipped: NDArray[Any] = np.clip(values, -np.inf if low is None else low, high)
        return clipped
    bad = np.flatnonzero(values <= -1)
    if len(bad):
        raise source.error(bad[0], column, f"log(1 + value) does not exist for {values[bad[0]]:g}")
    logarithm: NDArray[Any] = np.log1p(values)
    return logarithm
