"""Which byte of each word is compressed: chosen by what the words of many models usually are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.model_store.frames import STEPS, Split, compressor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Words = NDArray[Any]

_COST = 16  # bits that an exception takes beyond its own, about
_WORTH_SQUEEZING = 0.97
_TRIED = 4


def fitted(words: Words, slots: Sequence[int], by_place: bool) -> Split:
    """How to split words of the usual sizes.

    Args:
        words: Residuals ``(models, words)``; a sample will do.
        slots: Words of each tensor.
        by_place: Whether each place has a key of its own, or else each tensor.
    """
    size = words.dtype.itemsize
    keys = _keys_by_place(words) if by_place else _keys_by_tensor(words, slots)
    split = Split(size, keys, is_squeezed=False)
    _, low, _ = split.parts(words[:: -(-len(words) // _TRIED)])
    compress = compressor()
    if low.size and sum(len(compress(row)) for row in low) < _WORTH_SQUEEZING * low.size:
        return Split(size, keys, is_squeezed=True)
    return split


def _keys_by_place(words: Words) -> Bytes:
    lengths = bit_lengths(words)
    usual = lengths.sum(axis=0) / np.float32(len(words))
    chosen = _cheapest(_costs(lengths, words.dtype.itemsize))
    fine = np.clip(np.round(usual - np.float32(8) * chosen + np.float32(8)), 0, STEPS - 1)
    keys: Bytes = STEPS * chosen + fine.astype(np.uint8)
    return keys


def _keys_by_tensor(words: Words, slots: Sequence[int]) -> Bytes:
    stops = np.cumsum(slots).tolist()
    costs = [
        np.array([cost[stop - size : stop].sum() for stop, size in zip(stops, slots, strict=True)])
        for cost in _costs(bit_lengths(words), words.dtype.itemsize)
    ]
    return np.repeat(STEPS * _cheapest(costs), slots)


def _costs(lengths: NDArray[np.float32], word: int) -> Iterator[NDArray[np.float32]]:
    """Bits that each place takes, about, with its first byte chosen, its second, and so on.

    Args:
        lengths: Bits of each number, ``(models, words)``; they are used up.
        word: Bytes of a word.
    """
    models = np.float32(len(lengths))
    for byte in range(word):
        exceptions = (lengths > np.float32(8)).sum(axis=0, dtype=np.float32)
        small = np.maximum(lengths, 0, out=lengths).sum(axis=0)
        yield np.float32(8 * byte) + (small + np.float32(_COST) * exceptions) / models
        lengths -= np.float32(8)


def _cheapest(costs: Iterable[NDArray[Any]]) -> Bytes:
    """At each place, which of the costs is lowest; the first of equals."""
    least, *others = costs
    chosen = np.zeros(least.shape, np.uint8)
    for number, cost in enumerate(others, 1):
        chosen[cost < least] = number
        np.minimum(cost, least, out=least)
    return chosen


def bit_lengths(words: Words) -> NDArray[np.float32]:
    """About how many bits each number takes: ``log2(1 + number)`` with the fraction linear."""
    bits = (words.astype(np.float32) + np.float32(1)).view(np.uint32)
    lengths: NDArray[np.float32] = bits.astype(np.float32)
    lengths *= np.float32(2.0**-23)
    lengths -= np.float32(127)
    return lengths
