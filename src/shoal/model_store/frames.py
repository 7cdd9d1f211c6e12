"""Residual words of many models as frames of bytes, and back.

Of each word one byte is chosen that is small but not always zero. These bytes of a model go
through zstd. The bytes below look random and are stored as they are; those above are zeros, or
else the word is an exception: it follows, from the chosen byte up. Which byte that is depends on
the word's place in the model, since a weight of 0.001 moves by more of its last bits than one of
0.5. Places are sorted by the usual size of their words, so that zstd sees alike numbers together.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import CorruptError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Words = NDArray[Any]
    Decompress = Callable[[memoryview | bytes], bytes]

LARGEST_RATIO = 256
"""No frame stands for more bytes than this times its own, so what it asks for is bounded."""

BLOCK_BYTES = 1 << 19
"""Words that are handled at once: few enough to stay in the processor's cache."""

STEPS = 32
"""Keys per byte, which tell where in it the usual number ends."""

_EXCEPTION = 255  # in place of the byte: it and those above follow
_HEAD = 4  # bytes that count exceptions


class FrameError(CorruptError):
    """A frame is damaged or forged.

    Attributes:
        row: Its place among the frames.
    """

    def __init__(self, row: int, message: str) -> None:
        super().__init__(message)
        self.row = row


class Split:
    """The choice of the bytes of words that are compressed.

    Attributes:
        word_type: Unsigned integer that holds one word.
        keys: uint8 ``(words,)``: the byte's place in its word times 32, plus how far up the
            usual number reaches from there.
        is_squeezed: Whether the bytes below are compressed too.
        low_bytes: Bytes of a model that lie below.
    """

    def __init__(self, word: int, keys: Bytes, is_squeezed: bool) -> None:
        self.keys = keys
        self.is_squeezed = is_squeezed
        self.word_type = np.dtype(f"<u{word}")
        if keys.max(initial=0) >= STEPS * word:
            raise ValueError("no such byte in a word")
        self._order = np.argsort(keys, kind="stable")
        self._is_sorted = bool((keys[1:] >= keys[:-1]).all())
        bounds = np.searchsorted(keys[self._order] // STEPS, np.arange(word + 1)).tolist()
        self._ranges = [(byte, bounds[byte], bounds[byte + 1]) for byte in range(word)]
        self._shifts = (8 * (keys[self._order] // STEPS)).astype(self.word_type)
        self.low_bytes = sum(byte * (stop - start) for byte, start, stop in self._ranges)

    def bytes_by_tensor(self, slots: Sequence[int]) -> tuple[int, ...]:
        """The chosen byte of each tensor's words, where all places of a tensor have the same."""
        firsts = np.cumsum([0, *slots[:-1]])
        return tuple(
            int(self.keys[first]) // STEPS if size else 0
            for first, size in zip(firsts, slots, strict=True)
        )

    @functools.cached_property
    def _places(self) -> NDArray[np.intp]:
        """New position of each place after sorting."""
        return np.argsort(self._order, kind="stable")

    def _low_parts(self) -> Iterator[tuple[int, int, int, int, int]]:
        """The bytes below: places from and to, bytes a piece, which piece, where they are kept."""
        at = 0
        for byte, start, stop in self._ranges:
            done = 0
            for size in (4, 2, 1):
                if byte & size and stop > start:
                    yield start, stop, size, done // size, at
                    done += size
                    at += size * (stop - start)

    def parts(self, words: Words) -> tuple[Bytes, Bytes, Words]:
        """Words sorted and taken apart.

        Returns:
            The bytes to be compressed ``(models, words)``, those below ``(models, low_bytes)``,
            and all words in the order of the former.
        """
        if not self._is_sorted:
            # Into memory of its own and without checks it takes half the time.
            words = np.take(words, self._order, axis=1, out=np.empty_like(words), mode="clip")
        count = len(words)
        small = np.empty(words.shape, np.uint8)
        low = np.empty((count, self.low_bytes), np.uint8)
        for byte, start, stop in self._ranges:
            if stop > start:
                high = words[:, start:stop] >> self.word_type.type(8 * byte)
                small[:, start:stop] = np.minimum(high, self.word_type.type(_EXCEPTION), out=high)
        for start, stop, size, piece, at in self._low_parts():
            pieces = words[:, start:stop]
            if piece:
                pieces = pieces >> self.word_type.type(8 * size * piece)
            low[:, at : at + size * (stop - start)] = pieces.astype(f"<u{size}").view(np.uint8)
        return small, low, words

    def exceptions(self, small: Bytes, words: Words) -> tuple[Words, NDArray[np.intp]]:
        """Words that do not fit the chosen byte, in order, and the end of each model's."""
        places = np.flatnonzero(small == _EXCEPTION)
        ends = np.searchsorted(places, words.shape[1] * np.arange(1, len(words) + 1))
        found = words.reshape(-1)[places]
        found >>= self._shifts[places % max(1, words.shape[1])]
        return found, ends

    def joined(self, small: Bytes, low: Bytes, exceptions: Words) -> Words:
        """Undo :meth:`parts`; ``exceptions`` are in the order of their places."""
        words = small.astype(self.word_type)
        words[small == _EXCEPTION] = exceptions
        words <<= self._shifts
        for start, stop, size, piece, at in self._low_parts():
            pieces = words.view(f"<u{size}").reshape(*words.shape, -1)[:, start:stop, piece]
            part = low[:, at : at + size * (stop - start)]
            pieces[...] = np.ascontiguousarray(part).view(f"<u{size}")
        if self._is_sorted:
            return words
        return np.take(words, self._places, axis=1, out=np.empty_like(words), mode="clip")


def split_by_tensor(word: int, keys: Sequence[int], slots: Sequence[int], squeezed: bool) -> Split:
    """A split with one key, the byte's place in its word, for each tensor of so many words."""
    places = np.repeat(np.array(keys, np.uint8) * STEPS, slots)
    return Split(word, places.astype(np.uint8), squeezed)


def encoded(split: Split, words: Words) -> list[bytes]:
    """A frame for each model, of residual words ``(models, words)``."""
    small, low, words = split.parts(words)
    exceptions, ends = split.exceptions(small, words)
    stops = (words.itemsize * ends).tolist()
    above, start = exceptions.tobytes(), 0
    if split.is_squeezed:
        small, low = np.concatenate([small, low], axis=1), low[:, :0]
    heads = np.diff(ends, prepend=0).astype("<u4").tobytes()
    lows, width = low.tobytes(), low.shape[1]
    needed = -(-words.itemsize * words.shape[1] // LARGEST_RATIO)
    compress = compressor()
    frames = []
    for row, stop in enumerate(stops):
        head = heads[_HEAD * row : _HEAD * (row + 1)]
        plain = small[row].tobytes() + above[start:stop]
        frame = b"".join((head, lows[row * width : (row + 1) * width], compress(plain)))
        frames.append(frame if len(frame) >= needed else frame.ljust(needed, b"\0"))
        start = stop
    return frames


def decoded(split: Split, frames: Sequence[memoryview]) -> Words:
    """Residual words ``(models, words)`` of frames that :func:`encoded` made.

    Raises:
        FrameError: A frame is damaged or forged; the message says how.
    """
    words, width = len(split.keys), 0 if split.is_squeezed else split.low_bytes
    size = split.word_type.itemsize
    small = np.empty((len(frames), words + split.low_bytes - width), np.uint8)
    stop, own = _HEAD + width, small.shape[1]
    above, counts = [], []
    decompress = _decompressor()
    for row, frame in enumerate(frames):
        counts.append(int.from_bytes(frame[:_HEAD], "little"))
        if len(frame) < stop or counts[-1] > words:
            raise FrameError(row, "too short")
        plain = decompressed(row, frame[stop:], own + size * counts[-1], decompress)
        small[row] = np.frombuffer(plain, np.uint8, own)
        above.append(plain[own:])
    lows = b"".join([frame[_HEAD:stop] for frame in frames])
    low = np.frombuffer(lows, np.uint8).reshape(len(frames), width)
    if split.is_squeezed:
        small, low = small[:, :words], small[:, words:]
    wrong = np.flatnonzero(np.count_nonzero(small == _EXCEPTION, axis=1) != np.array(counts))
    if len(wrong):
        raise FrameError(int(wrong[0]), "of other exceptions than it says")
    return split.joined(small, low, np.frombuffer(b"".join(above), split.word_type))


def decompressed(
    row: int, content: memoryview | bytes, size: int, decompress: Decompress | None = None
) -> bytes:
    """Decompress zstd, if the result has ``size`` bytes; never unfold anything else.

    Raises:
        FrameError: It is anything else; it says that of frame ``row``.
    """
    import zstandard

    try:
        if zstandard.frame_content_size(content) != size:
            raise FrameError(row, "of another size than it says")
        return (decompress or _decompressor())(content)
    except (zstandard.ZstdError, MemoryError):
        raise FrameError(row, "not readable as zstd") from None


def compressed(content: bytes) -> bytes:
    """Bytes through zstd, padded so that they stand for no more than they may.

    A skippable frame of zstd fills them.
    """
    frame: bytes = compressor()(content)
    missing = -(-len(content) // LARGEST_RATIO) - len(frame)
    if missing <= 0:
        return frame
    return frame + b"\x50\x2a\x4d\x18" + missing.to_bytes(4, "little") + bytes(missing)


def compressor() -> Any:  # noqa: ANN401 - a function of a module that is imported here
    """A function that compresses bytes by zstd, all with one context."""
    import zstandard

    # Weights do not repeat themselves: what looks like it is better left to the table of codes.
    parameters = zstandard.ZstdCompressionParameters(
        window_log=17, hash_log=6, chain_log=6, search_log=1, min_match=7, strategy=1
    )
    return zstandard.ZstdCompressor(compression_params=parameters).compress


def _decompressor() -> Decompress:
    import zstandard

    return zstandard.ZstdDecompressor().decompress


_COST = 16  # bits that an exception takes beyond its own, about
_WORTH_SQUEEZING = 0.97
_TRIED = 4


def fitted(words: Words, slots: Sequence[int], by_place: bool) -> Split:
    """The split that suits words of these sizes.

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
