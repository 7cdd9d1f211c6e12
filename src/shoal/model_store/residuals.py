"""Words of tensors against those of others: exact, and small where the tensors are alike.

All functions take unsigned words ``(models, words)``; a residual is undone by :func:`restored`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[Any]

RAW, ALONE, DIFFERENCE = range(3)
"""How words are stored: as they are; by themselves; or as integer difference from a reference.

A difference is never larger than the bits that differ (XOR), and mostly smaller.
"""

CODECS = ("raw", "alone", "difference")


def residual(codec: int, is_float: bool, words: Words, reference: Words) -> Words:
    """What is left to store of ``words``; small numbers where they are alike.

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
    """The words of which :func:`residual` is ``left``."""
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
