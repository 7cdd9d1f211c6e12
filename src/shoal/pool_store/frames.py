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
_PATCHED = 32  # flag: a list of words that do not fit the planes comes before it
_RARE = 10  # one word in so many may not fit
_FEW_WORDS = 64  # the table of codes costs more than it gains


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
        words: Words = high << self._shifts
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
        result: Words = np.empty_like(words)
        result[:, self._order] = words
        return result


def fitted_cut(kind: Kind, words: Words, by_place: bool, compressed: bool) -> Cut:
    """A cut that leaves few high bits of numbers of the usual size.

    Args:
        kind: Type and shape of the tensors.
        words: Residuals, ``(tensors, words)``; a sample will do.
        by_place: Whether each place has a cut of its own.
        compressed: Whether zstd follows: the best is then small numbers, else what fits a byte.
    """
    axis = 0 if by_place else None
    lengths = np.frexp(words.astype(np.float64))[1]
    usual = (
        np.mean(lengths, axis=axis) - 2 if compressed else np.max(lengths, axis=axis, initial=0) - 8
    )
    bits = np.clip(np.round(usual), 0, 8 * words.dtype.itemsize - 1)
    return Cut(kind, bits.astype(np.uint8) if by_place else int(bits))


def encoded(cut: Cut, words: Words, level: int | None) -> list[bytes]:
    """A frame for each tensor, of residual words ``(tensors, words)``.

    Args:
        cut: Where words are cut.
        words: The residuals.
        level: Of zstd; ``None`` for no compression of the high parts.
    """
    frames: list[bytes] = []
    for start in range(0, len(words), block := _block(words)):
        low, high = cut.split(words[start : start + block])
        planes = _planes_needed(high, 0 if level else high.shape[1] // _RARE)
        # Tensors with as many planes are handled together: one copy rather than one for each.
        order = np.argsort(planes, kind="stable")
        part: list[bytes] = [b""] * len(planes)
        for rows in np.split(order, np.flatnonzero(np.diff(planes[order])) + 1):
            alike = _encoded_alike(low[rows], high[rows], int(planes[rows[0]]), level)
            for row, frame in zip(rows.tolist(), alike, strict=True):
                part[row] = frame
        frames += part
    return frames


def _block(words: Words) -> int:
    return max(1, _BLOCK_BYTES // max(1, words[:1].nbytes))


def _planes_needed(high: Words, rare: int) -> NDArray[np.int64]:
    """Bytes that the words of each tensor fit in, but for so many; zstd does without these."""
    needed = np.zeros(len(high), np.int64)
    for byte in range(high.dtype.itemsize):
        longer = np.count_nonzero(high >> high.dtype.type(8 * byte), axis=1)
        if not (more := longer > rare).any():
            break
        needed[more] = byte + 1
    return needed


def _encoded_alike(low: Bytes, high: Words, planes: int, level: int | None) -> list[bytes]:
    """Frames of tensors whose high parts fill as many planes."""
    from numcodecs import zstd

    count, words = high.shape
    split = high.view(np.uint8).reshape(count, words, -1)[:, :, :planes]
    plain = np.ascontiguousarray(split.transpose(0, 2, 1)).reshape(count, planes * words)
    heads, stored = _rows(low), _rows(plain)
    patches = _patches(high, planes)
    frames = []
    for row, patch in enumerate(patches):
        flag = planes | (_PATCHED if patch else 0)
        end = stored[row]
        if level is not None and len(end) >= _FEW_WORDS:
            small = zstd.compress(plain[row], level)
            end, flag = (small, flag) if len(small) < len(end) else (end, flag | _STORED)
        else:
            flag |= _STORED
        frames.append(padded(b"%c%b%b%b" % (flag, heads[row], patch, end), high[row].nbytes))
    return frames


def _patches(high: Words, planes: int) -> list[bytes]:
    """For each tensor its words that do not fit: how many, where, and what is above the planes."""
    if planes == high.dtype.itemsize:
        return [b""] * len(high)
    over = high >> high.dtype.type(8 * planes)
    rows, places = np.nonzero(over)
    counts = np.bincount(rows, minlength=len(high))
    stops = np.cumsum(counts).tolist()
    values = over[rows, places]
    return [
        count.to_bytes(4, "little")
        + places[stop - count : stop].astype("<u4").tobytes()
        + values[stop - count : stop].tobytes()
        if count
        else b""
        for count, stop in zip(counts.tolist(), stops, strict=True)
    ]


def _rows(whole: Bytes) -> list[bytes]:
    joined, size = whole.tobytes(), whole.shape[1]
    return [joined[row * size : (row + 1) * size] for row in range(len(whole))]


def padded(frame: bytes, stands_for: int) -> bytes:
    """What ends with a frame of zstd, at least as long as ``LARGEST_RATIO`` asks.

    A skippable frame of zstd fills it.
    """
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
    stop = 1 + cut.low_bytes
    for start in range(0, len(frames), block := _block(words)):
        part = frames[start : start + block]
        high = np.zeros((len(part), kind.words), kind.word_type)
        flags = []
        for row, frame in enumerate(part):
            if len(frame) < stop:
                raise FrameError(start + row, "too short")
            flags.append(frame[0])
        for flag in set(flags):
            rows = [row for row, own in enumerate(flags) if own == flag]
            try:
                _read_high(flag, [part[row][stop:] for row in rows], high, rows)
            except FrameError as error:
                raise FrameError(start + error.row, str(error)) from None
        packed = b"".join([frame[1:stop] for frame in part])
        low = np.frombuffer(packed, np.uint8).reshape(len(part), cut.low_bytes)
        words[start : start + block] = cut.join(low, high)
    return words


def _read_high(flag: int, parts: list[memoryview], high: Words, rows: list[int]) -> None:
    """Fill in the high parts of tensors whose frames have the same flag."""
    from numcodecs import zstd

    planes = flag & (_STORED - 1)
    if planes > high.dtype.itemsize or flag >= 2 * _PATCHED:
        raise FrameError(rows[0], "of unknown form")
    if flag & _PATCHED:
        parts = [
            _patch(part, planes, high[row], row) for row, part in zip(rows, parts, strict=True)
        ]
    if not planes:
        return
    plain = np.zeros((len(parts), planes * high.shape[1]), np.uint8)
    for row, part, place in zip(rows, parts, plain, strict=True):
        if flag & _STORED:
            if len(part) != len(place):
                raise FrameError(row, "of another size")
            place[:] = part
            continue
        try:
            # zstd writes at most as much as the buffer holds, whatever the frame claims.
            zstd.decompress(part, place)
        except (RuntimeError, ValueError):
            raise FrameError(row, "not readable as zstd") from None
    split = high.view(np.uint8).reshape(*high.shape, -1)
    split[rows, :, :planes] = plain.reshape(len(parts), planes, -1).transpose(0, 2, 1)


def _patch(part: memoryview, planes: int, high: Words, row: int) -> memoryview:
    """Fill in the words that do not fit the planes; what comes after them."""
    width = high.dtype.itemsize
    count = int.from_bytes(part[:4], "little")
    middle, stop = 4 + 4 * count, 4 + (4 + width) * count
    if len(part) < stop or planes >= width:
        raise FrameError(row, "too short for its patches")
    places = np.frombuffer(part[4:middle], "<u4")
    if places.max(initial=0) >= len(high):
        raise FrameError(row, "patched beyond its end")
    high[places] = np.frombuffer(part[middle:stop], high.dtype) << high.dtype.type(8 * planes)
    return part[stop:]


@functools.cache
def lone_cut(kind: Kind) -> Cut | None:
    """The cut of floats that are stored by themselves: exponent above, fraction and sign below."""
    fraction = DTYPES[kind.dtype].fraction
    return None if fraction is None else Cut(kind, fraction + 1)
