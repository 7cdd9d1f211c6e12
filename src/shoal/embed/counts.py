"""Counts of tokens, and their principal components; applying them needs numpy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from shoal.embed.embedder import seen_in
from shoal.embed.pca import PCAEmbedder, Scatter, check_varying, signed
from shoal.embed.rows import sample_rows
from shoal.formats.stored import tensor_of
from shoal_edge.embedding import root_counts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.formats.fitted_state import Tensors
    from shoal.formats.ledger import Ledger
    from shoal.settings.discovery import Counts

_COUNTED_ROWS = 1024
_RARE = 0.1
"""Added to each deviation, so that tokens that hardly occur do not rule distances."""


class CountsEmbedder(PCAEmbedder):
    """Principal components of standardised :func:`root_counts` of rows of tokens."""

    method = "counts"

    def _embedded(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        out = np.empty((len(x), self.dims), dtype=np.float32)
        for start in range(0, len(x), _COUNTED_ROWS):
            some = slice(start, start + _COUNTED_ROWS)
            out[some] = super()._embedded(
                root_counts(x[some].astype(np.int64), len(self._mean) // 2)
            )
        return out

    @classmethod
    def from_state(cls, tensors: Tensors, meta: Mapping[str, object]) -> Self:
        """The embedder that gave this state.

        Raises:
            CorruptError: It is not such a state, or one that no fit gives.
        """
        shape, prefix = seen_in(meta)
        mean = tensor_of(tensors, "mean", "float64", (None,))
        components = tensor_of(tensors, "components", "float64", (None, len(mean)))
        return cls(shape, mean, components, prefix)


def fit_counts(
    settings: Counts, paths: Sequence[Path], x_shape: Sequence[int], ledger: Ledger
) -> CountsEmbedder:
    """Principal components of a bounded sample of the training fold's rows.

    Raises:
        DataError: There are no training rows, or all are equal.
    """
    draw = (settings.fit_rows, settings.seed, "token counts")
    sample = sample_rows(paths, *draw, ledger, settings.prefix)
    starts = range(0, len(sample), _COUNTED_ROWS)
    blocks = [sample[at : at + _COUNTED_ROWS].astype(np.int64) for at in starts]
    directions = Scatter(root_counts(blocks[0], settings.buckets), settings.dims)
    for block in blocks:
        directions.add(root_counts(block, settings.buckets))
    unit = directions.deviations + _RARE
    components = directions.components(unit)
    check_varying(components, directions.rows)
    ledger.rows_seen += directions.rows
    ledger.flops += directions.flops
    # Rows are divided by their unit as they are multiplied.
    return CountsEmbedder(x_shape, directions.mean, signed(components) / unit, settings.prefix)
