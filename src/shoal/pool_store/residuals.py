"""Words of a tensor against those of another: exact, and small where the tensors are alike.

All functions take unsigned words ``(tensors, words)`` and are undone by their counterpart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.pool_store.tensors import DTYPES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shoal.pool_store.tensors import Kind

    Words = NDArray[Any]

RAW, ALONE, XOR, DIFFERENCE = range(4)
"""How a tensor is stored: its bytes; its words by themselves; or against a reference."""

CODECS = ("raw", "alone", "xor", "difference")


def residual(codec: int, kind: Kind, words: Words, reference: Words | None) -> Words:
    """What is left to store of ``words``; small numbers where they are alike.

    Args:
        codec: ``ALONE``, ``XOR`` or ``DIFFERENCE``.
        kind: Type and shape of each tensor.
        words: ``(tensors, words)``.
        reference: The words to compare with, ``(tensors or 1, words)``; ``None`` for ``ALONE``.
    """
    is_float = DTYPES[kind.dtype].fraction is not None
    if codec == ALONE:
        # The sign goes last, so that the exponent fills the top byte of a float32 or bfloat16.
        return _rotated(words, 1) if is_float else words
    if reference is None:
        raise ValueError("no reference")
    if codec == XOR:
        return words ^ reference
    ordered = _ordered if is_float else np.asarray
    return _zigzag(ordered(words) - ordered(reference))


def restored(codec: int, kind: Kind, left: Words, reference: Words | None) -> Words:
    """The words of which :func:`residual` is ``left``."""
    is_float = DTYPES[kind.dtype].fraction is not None
    if codec == ALONE:
        return _rotated(left, -1) if is_float else left
    if reference is None:
        raise ValueError("no reference")
    if codec == XOR:
        return left ^ reference
    if not is_float:
        return _unzigzag(left) + reference
    return _unordered(_unzigzag(left) + _ordered(reference))


def median(words: Words) -> Words:
    """A tensor in the middle of many: for each word the lower median, in the order of numbers.

    Args:
        words: Those of floats, ``(tensors, words)``.

    Returns:
        ``(words,)``.
    """
    ordered = _ordered(words)
    middle = (len(words) - 1) // 2
    return _unordered(np.partition(ordered, middle, axis=0)[middle])


def _bits(words: Words) -> int:
    return 8 * words.dtype.itemsize


def _signed(words: Words) -> Words:
    return words.view(np.dtype(f"<i{words.dtype.itemsize}"))


def _sign_mask(words: Words) -> Words:
    """All ones where the top bit is set, else none."""
    return (_signed(words) >> (_bits(words) - 1)).view(words.dtype)


def _top(words: Words) -> Any:  # noqa: ANN401 - a numpy scalar
    return words.dtype.type(1 << (_bits(words) - 1))


def _ordered(words: Words) -> Words:
    """Bits of floats as integers in the same order, next to each other where the floats are."""
    ordered: Words = words ^ (_sign_mask(words) | _top(words))
    return ordered


def _unordered(words: Words) -> Words:
    unordered: Words = words ^ (~_sign_mask(words) | _top(words))
    return unordered


def _zigzag(words: Words) -> Words:
    """Small negative differences as small numbers: 0, -1, 1 and -2 as 0, 1, 2 and 3."""
    return (words << 1) ^ _sign_mask(words)


def _unzigzag(words: Words) -> Words:
    plain: Words = (words >> 1) ^ (~(words & 1) + words.dtype.type(1))
    return plain


def _rotated(words: Words, left: int) -> Words:
    left %= _bits(words)
    return (words << left) | (words >> (_bits(words) - left))
