"""How a model's words are stored, exactly: raw, alone, or as a difference from another model's.

All functions take unsigned words ``(models, words)``; a residual is undone by :func:`restored`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.model_store.frames import bit_lengths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Words = NDArray[Any]

RAW, ALONE, DIFFERENCE = range(3)
"""How words are stored: as they are; by themselves; or as integer difference from a reference.

A difference is never larger than the bits that differ (XOR), and mostly smaller.
"""

CODECS = ("raw", "alone", "difference")


def residual(codec: int, is_float: bool, words: Words, reference: Words) -> Words:
    """The difference of ``words`` from a reference; small numbers where they are alike.

    Args:
        codec: ``ALONE`` or ``DIFFERENCE``.
        is_float: Whether the words are those of floats.
        words: ``(models, words)``.
        reference: The words to compare with, ``(models or 1, words)``; not used for ``ALONE``.
    """
    if codec == DIFFERENCE:
        return _zigzag(words - reference)
    # The sign goes last, so that the exponent fills the top byte of a float32 or bfloat16.
    return _rotated(words, 1) if is_float else _zigzag(words.copy())


def restored(codec: int, is_float: bool, left: Words, reference: Words) -> Words:
    """Undo :func:`residual`."""
    if codec == ALONE and is_float:
        return _rotated(left, -1)
    words = _unzigzag(left)
    if codec == DIFFERENCE:
        words += reference
    return words


def median(words: Words) -> Words:
    """A model in the middle of many: for each word the lower median, in the order of numbers.

    Args:
        words: Those of floats, ``(models, words)``.

    Returns:
        ``(words,)``.
    """
    middle = (len(words) - 1) // 2
    return _unordered(np.partition(_ordered(words), middle, axis=0)[middle])


def _sign_mask(words: Words) -> Words:
    """All ones where the top bit is set, else none."""
    size = words.dtype.itemsize
    mask: Words = (words.view(np.dtype(f"<i{size}")) >> (8 * size - 1)).view(words.dtype)
    return mask


def _top(words: Words) -> Any:  # noqa: ANN401 - a numpy scalar
    return words.dtype.type(1 << (8 * words.dtype.itemsize - 1))


def _ordered(words: Words) -> Words:
    """Bits of floats as integers in the same order, next to each other where the floats are."""
    mask = _sign_mask(words)
    mask |= _top(words)
    mask ^= words
    return mask


def _unordered(words: Words) -> Words:
    mask = ~_sign_mask(words)
    mask |= _top(words)
    mask ^= words
    return mask


def _rotated(words: Words, left: int) -> Words:
    bits = 8 * words.dtype.itemsize
    left %= bits
    rotated: Words = words << words.dtype.type(left)
    rotated |= words >> words.dtype.type(bits - left)
    return rotated


def _zigzag(words: Words) -> Words:
    """Small negative differences as small numbers: 0, -1, 1 and -2 as 0, 1, 2 and 3."""
    mask = _sign_mask(words)
    words <<= words.dtype.type(1)
    words ^= mask
    return words


def _unzigzag(words: Words) -> Words:
    one = words.dtype.type(1)
    mask: Words = words & one
    np.negative(mask, out=mask)
    mask ^= words >> one
    return mask


LONGEST_CHAIN = 8
"""References that are followed, at most, to recover a tensor."""

NONE = 0xFFFFFFFF
"""In place of a reference: there is none."""

_PLACES = 128  # words of a model that are looked at
_MODELS = 256  # models of which the commonness of bytes is learned


@dataclass(frozen=True)
class Reference:
    """Words that those of many models may be compared with.

    Attributes:
        words: ``(models, words)``, or ``(1, words)`` for the same to all.
        numbers: Number of each of its tensors, or ``NONE``, int64 ``(models or 1, tensors)``.
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
        references: Words to compare with; the first is :func:`nothing`.

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
    """Bits per word where only frequent values of the top byte save any."""
    below = 8 * (left.dtype.itemsize - 1)
    top = (left >> left.dtype.type(below)).astype(np.uint8)
    counts = np.bincount(top[:: -(-len(top) // _MODELS)].ravel(), minlength=256)
    bits: NDArray[Any] = np.log2((counts.sum() + 256) / (counts + 1)).astype(np.float32)
    means: NDArray[Any] = bits[top].mean(axis=1) + below
    return means
