"""Which codec and reference each model's words are stored with, by an estimate of their size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.model_store.fitting import bit_lengths
from shoal.model_store.residuals import ALONE, DIFFERENCE, residual

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Words = NDArray[Any]

LONGEST_CHAIN = 8
"""References that are followed, at most, to recover a tensor."""

NONE = 0xFFFFFFFF
"""In place of a reference: there is none."""

_PLACES = 128  # words of a model that are looked at
_MODELS = 256  # models of which the commonness of bytes is learned


@dataclass(frozen=True)
class Reference:
    """What many models' words may be compared with.

    Attributes:
        words: ``(models, words)``, or ``(1, words)`` for the same to all.
        numbers: Where each tensor of it lies, int64 ``(models or 1, tensors)``, or ``NONE``.
        depths: References to follow to recover it, ``(models,)``; -1 where there is none.
    """

    words: Words
    numbers: NDArray[np.int64]
    depths: NDArray[np.int64]

    def of(self, rows: NDArray[np.intp]) -> Words:
        """The words for some of the models."""
        return self.words if len(self.words) == 1 else self.words[rows]


def nothing(models: int, words: int, tensors: int, dtype: np.dtype[Any]) -> Reference:
    """All zeros, in place of a reference."""
    return Reference(
        np.zeros((1, words), dtype),
        np.full((1, tensors), NONE, np.int64),
        np.full(models, 0),
    )


def chosen(
    is_float: bool, words: Words, references: Sequence[Reference]
) -> list[tuple[int, Reference, NDArray[np.intp]]]:
    """The codec and reference that should make each model smallest.

    Args:
        is_float: Whether the words are those of floats.
        words: ``(models, words)``.
        references: What they may be compared with; the first is :func:`nothing`.

    Returns:
        Codec, reference, and the models they are for; each model once.
    """
    sample = words[:, :: (step := -(-words.shape[1] // _PLACES) or 1)]
    tried = [(ALONE, references[0])]
    tried += [(DIFFERENCE, reference) for reference in references[1:]]
    if len(tried) == 1 or not sample.size:
        return [(*tried[0], np.arange(len(words)))]
    costs = np.empty((len(tried), len(words)), np.float32)
    for number, (codec, reference) in enumerate(tried):
        left = residual(codec, is_float, sample, reference.words[:, ::step])
        is_alone = codec == ALONE and is_float
        costs[number] = _bits_alone(left) if is_alone else np.mean(bit_lengths(left), axis=1)
        costs[number][(reference.depths < 0) | (reference.depths >= LONGEST_CHAIN)] = np.inf
    best = np.argmin(costs, axis=0)
    return [(*tried[n], np.flatnonzero(best == n)) for n in np.unique(best).tolist()]


def _bits_alone(left: Words) -> NDArray[Any]:
    """Bits a word where only what is common among the top bytes is of use."""
    below = 8 * (left.dtype.itemsize - 1)
    top = (left >> left.dtype.type(below)).astype(np.uint8)
    counts = np.bincount(top[:: -(-len(top) // _MODELS)].ravel(), minlength=256)
    bits: NDArray[Any] = np.log2((counts.sum() + 256) / (counts + 1)).astype(np.float32)
    means: NDArray[Any] = bits[top].mean(axis=1) + below
    return means
