"""Many tensors of one kind as frames of bytes, and back.

A word is cut in two at a number of low bits that is the same for all tensors of a column. The
low bits look random: they are stored as they are, whole bytes as byte planes and the rest as
planes of bits. The high part is small and goes, as byte planes, through zstd. Where a place of
the tensor has numbers of another size than its neighbour, as differences between models do, it
is cut elsewhere, so that the high parts of all places are alike and one table of codes serves.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import CorruptError
from shoal.pool_store.tensors import DTYPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from shoal.pool_store.tensors import Kind

    Bytes = NDArray[np.uint8]
    Words = NDArray[Any]

LARGEST_RATIO = 256
"""No frame stands for more bytes than this times its own, so what it asks for is bounded."""

_BLOCK_BYTES = 1 << 20
_STORED = 16  # flag: the high part is not compressed
_FEW_WORDS = 64  # the table of codes costs more than it gains
_KEPT_BITS = 2  # high bits kept of a number of usual size


class FrameError(CorruptError):
    """A frame is not what it should be.

    Attributes:
        row: Its place among the frames.
    """

    def __init__(self, row: int, what: str) -> None:
        super().__init__(what)
        self.row = row


class Cut:
    """Where words are cut: low bits for each place of the tensor.

    Attributes:
        bits: uint8 ``(words,)``, or one number for all.
        low_bytes: Bytes that the low bits of one tensor take.
    """

    def __init__(self, kind: Kind, bits: int | Bytes) -> None:
        self.bits = bits
        self._kind = kind
        self._word = DTYPES[kind.dtype].word
        self._order: NDArray[np.intp] | None = None
        if isinstance(bits, int):
            self._shifts: Any = kind.word_type.type(bits)
            ascending = np.full(kind.words, bits, np.uint8)
        else:
            self._order = np.argsort(bits, kind="stable")
            ascending = bits[self._order]
            self._shifts = ascending.astype(kind.word_type)
        self._first = [
            int(np.searchsorted(ascending, bit, side="left")) for bit in range(8 * self._word + 1)
        ]
        self.low_bytes = sum(size for *_, size in self._planes())

    def _planes(self) -> Iterator[tuple[int, int, int, int]]:
        """Byte (negative: none) or bit, places from and to, and bytes of each plane."""
        for byte in range(self._word):
            whole = self._first[8 * (byte + 1)]
            yield 8 * byte, whole, self._kind.words, self._kind.words - whole
            for bit in range(8 * byte, 8 * byte + 8):
                start = self._first[bit + 1]
                if start < whole:
                    yield -1 - bit, start, whole, -(-(whole - start) // 8)

    def split(self, words: Words) -> tuple[Bytes, Words]:
        """Low bits, packed, ``(tensors, low_bytes)``, and high parts ``(tensors, words)``."""
        if self._order is not None:
            words = np.take(words, self._order, axis=1)
        planes = words.view(np.uint8).reshape(*words.shape, self._word)
        low = np.empty((len(words), self.low_bytes), np.uint8)
        at = 0
        for bit, start, stop, size in self._planes():
            if bit >= 0:
                low[:, at : at + size] = planes[:, start:stop, bit // 8]
            else:
                byte, rest = divmod(-1 - bit, 8)
                chosen = planes[:, start:stop, byte] & (1 << rest)
                low[:, at : at + size] = np.packbits(chosen, axis=1)
            at += size
        return low, words >> self._shifts

    def join(self, low: Bytes, high: Words) -> Words:
        """What :meth:`split` cut."""
        words = high << self._shifts
        planes = words.view(np.uint8).reshape(*words.shape, self._word)
        at = 0
        for bit, start, stop, size in self._planes():
            part = low[:, at : at + size]
            if bit >= 0:
                planes[:, start:stop, bit // 8] |= part
            else:
                byte, rest = divmod(-1 - bit, 8)
                bits = np.unpackbits(part, axis=1, count=stop - start)
                planes[:, start:stop, byte] |= bits << rest
            at += size
        if self._order is None:
            return words
        result = np.empty_like(words)
        result[:, self._order] = words
        return result


def fitted_cut(kind: Kind, words: Words, by_place: bool) -> Cut:
    """A cut that leaves few high bits of numbers of the usual size.

    Args:
        kind: Type and shape of the tensors.
        words: Residuals, ``(tensors, words)``; a sample will do.
        by_place: Whether each place has a cut of its own.
    """
    lengths = np.frexp(words.astype(np.float64))[1]
    usual = lengths.mean(axis=0) if by_place else np.asarray(lengths.mean() if words.size else 0)
    bits = np.clip(np.round(usual) - _KEPT_BITS, 0, 8 * words.dtype.itemsize - 1)
    return Cut(kind, bits.astype(np.uint8) if by_place else int(bits))


def encoded(cut: Cut, words: Words, level: int) -> list[bytes]:
    """A frame for each tensor, of residual words ``(tensors, words)``."""
    frames: list[bytes] = []
    for start in range(0, len(words), block := _block(words)):
        low, high = cut.split(words[start : start + block])
        largest = high.max(axis=1, initial=0)
        for row, top in enumerate(largest.tolist()):
            frames.append(_frame(low[row], high[row], (top.bit_length() + 7) // 8, level))
    return frames


def _block(words: Words) -> int:
    return max(1, _BLOCK_BYTES // max(1, words[:1].nbytes))


def _frame(low: Bytes, high: Words, planes: int, level: int) -> bytes:
    from numcodecs import zstd

    if not planes:
        return padded(b"\0" + low.tobytes(), high.nbytes)
    cut = high.astype(np.uint8) if planes == 1 else high.view(np.uint8).reshape(len(high), -1)
    plain = cut if planes == 1 else np.ascontiguousarray(cut[:, :planes].T).reshape(-1)
    if len(high) >= _FEW_WORDS:
        small = zstd.compress(plain, level)
        if len(small) < plain.nbytes:
            return padded(bytes([planes]) + low.tobytes() + small, high.nbytes)
    return bytes([planes | _STORED]) + low.tobytes() + plain.tobytes()


def padded(frame: bytes, stands_for: int) -> bytes:
    """A frame of zstd, or what ends with one, at least as long as ``LARGEST_RATIO`` asks; a skippable frame of zstd fills it."""
    missing = -(-stands_for // LARGEST_RATIO) - len(frame)
    if missing <= 0:
        return frame
    return frame + b"\x50\x2a\x4d\x18" + missing.to_bytes(4, "little") + bytes(missing)


def decoded(kind: Kind, cut: Cut, frames: Sequence[memoryview]) -> Words:
    """Residual words ``(tensors, words)`` of frames that :func:`encoded` made.

    Raises:
        FrameError: A frame is not what it should be; the message says how.
    """
    words = np.empty((len(frames), kind.words), kind.word_type)
    for start in range(0, len(frames), block := _block(words)):
        part = frames[start : start + block]
        low = np.empty((len(part), cut.low_bytes), np.uint8)
        high = np.zeros((len(part), kind.words), kind.word_type)
        for row, frame in enumerate(part):
            stop = 1 + cut.low_bytes
            if len(frame) < stop:
                raise FrameError(start + row, "too short")
            low[row] = np.frombuffer(frame[1:stop], np.uint8)
            if wrong := _read_high(frame[0], frame[stop:], high[row]):
                raise FrameError(start + row, wrong)
        words[start : start + block] = cut.join(low, high)
    return words


def _read_high(flag: int, data: memoryview, high: Words) -> str | None:
    """Fill in the high parts of one tensor; what is wrong with them, if anything is."""
    from numcodecs import zstd

    planes = flag & ~_STORED
    if not planes:
        return None
    if planes > high.dtype.itemsize:
        return "of unknown form"
    size = planes * len(high)
    if flag & _STORED:
        if len(data) != size:
            return "of another size"
        plain = np.frombuffer(data, np.uint8)
    else:
        plain = np.zeros(size, np.uint8)
        try:
            # zstd writes at most as much as the buffer holds, whatever the frame claims.
            zstd.decompress(data, plain)
        except (RuntimeError, ValueError):
            return "not readable as zstd"
    if planes == 1:
        high[:] = plain
    else:
        high.view(np.uint8).reshape(len(high), -1)[:, :planes] = plain.reshape(planes, -1).T
    return None


@functools.cache
def lone_cut(kind: Kind) -> Cut | None:
    """The cut of floats that are stored by themselves: exponent above, fraction and sign below."""
    fraction = DTYPES[kind.dtype].fraction
    return None if fraction is None else Cut(kind, fraction + 1)
