"""Words of tensors against those of others: exact, and small where the tensors are alike.

All functions take unsigned words ``(models, words)``; a residual is undone by :func:`restored`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[Any]

RAW, DIFFERENCE, XOR = range(3)
"""How words are stored: as they are; as integer difference from a reference; as differing bits.

Where a tensor has no reference it is all zeros. The difference of a float from zero is its
exponent and fraction, with the sign in the last bit.
"""

CODECS = ("raw", "difference", "xor")


def residual(codec: int, is_float: bool, words: Words, reference: Words) -> Words:
    """What is left to store of ``words``; small numbers where they are alike.

    Args:
        codec: ``DIFFERENCE`` or ``XOR``.
        is_float: Whether the words are those of floats, to be compared in the order of numbers.
        words: ``(models, words)``.
        reference: The words to compare with, ``(models or 1, words)``.
    """
    if codec == XOR:
        return words ^ reference
    if not is_float:
        return _zigzag(words - reference)
    left = _ordered(words)
    left -= _ordered(reference)
    return _zigzag(left)


def restored(codec: int, is_float: bool, left: Words, reference: Words) -> Words:
    """The words of which :func:`residual` is ``left``; the memory of ``left`` may be reused."""
    if codec == XOR:
        left ^= reference
        return left
    plain = _unzigzag(left)
    if not is_float:
        plain += reference
        return plain
    plain += _ordered(reference)
    return _unordered(plain)


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


def _zigzag(words: Words) -> Words:
    """Small negative differences as small numbers: 0, -1, 1 and -2 as 0, 1, 2 and 3."""
    mask = _sign_mask(words)
    words <<= words.dtype.type(1)
    words ^= mask
    return words


def _unzigzag(words: Words) -> Words:
    one = words.dtype.type(1)
    mask = words & one
    np.negative(mask, out=mask)
    mask ^= words >> one
    return mask
