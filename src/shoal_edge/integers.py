"""Arrays of integers as streams of bytes that compress well, and back.

A stream has a name, and many arrays are in it one after the other, so that what is alike lies
together. Who reads them takes them in the order in which they were put.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal_edge.errors import PatchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Unsigned = NDArray[np.unsignedinteger[Any]]

LEVELS = 15
"""Sizes of steps that are told by bits; what is beyond is a number."""


class Writer:
    """Streams to be written."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Bytes]] = defaultdict(list)

    def put(self, name: str, part: Bytes) -> None:
        """Add bytes to a stream."""
        if len(part):
            self._parts[name].append(part)

    def streams(self) -> dict[str, Bytes]:
        """The streams that hold anything, by name."""
        return {name: np.concatenate(parts) for name, parts in sorted(self._parts.items())}


class Reader:
    """Streams that are read from their beginnings."""

    def __init__(self, streams: Mapping[str, Bytes]) -> None:
        self._streams = streams
        self._places: dict[str, int] = defaultdict(int)

    def take(self, name: str, count: int) -> Bytes:
        """The next bytes of a stream.

        Raises:
            PatchError: It does not have so many.
        """
        start = self._places[name]
        self._places[name] = stop = start + count
        part = self._streams[name][start:stop] if count else np.empty(0, np.uint8)
        if len(part) != count:
            raise PatchError(f"stream {name!r} ends early")
        return part

    def end(self) -> None:
        """Refuse what nobody took.

        Raises:
            PatchError: There is something.
        """
        for name, stream in self._streams.items():
            if self._places[name] != len(stream):
                raise PatchError(f"stream {name!r} holds more than the patch's files take")


def put_steps(out: Writer, steps: NDArray[np.int32]) -> None:
    """Add small signed integers, most of which are 0.

    A bit says of each whether it is 0, then of each that is not whether its size is 1, and so on;
    each of these is two streams, and the signs are one.

    Args:
        out: The streams.
        steps: ``(weights,)``, int32.
    """
    left = np.abs(steps)
    for level in range(LEVELS):
        larger = left > level
        _put_bits(out, f"steps.{level:02}", larger)
        left = left[larger]
        if not len(left):
            break
    _put_planes(out, "steps.far", (left - LEVELS).astype(np.uint32))
    out.put("steps.signs", np.packbits(steps[steps != 0] < 0))


def take_steps(streams: Reader, count: int) -> NDArray[np.int32]:
    """What :func:`put_steps` put.

    Args:
        streams: The streams.
        count: How many integers.
    """
    steps = np.zeros(count, np.int32)
    places = np.arange(0)
    for level in range(LEVELS):
        among = len(places) if level else count
        found = np.flatnonzero(_take_bits(streams, f"steps.{level:02}", among))
        places = places[found] if level else found
        if not level:
            moved = places
        steps[places] += 1
        if not len(places):
            break
    steps[places] += _take_planes(streams, "steps.far", len(places), 4).view(np.int32)
    signs = _unpacked(streams.take("steps.signs", -(-len(moved) // 8)), len(moved))
    steps[moved[signs]] *= -1
    return steps


def _put_bits(out: Writer, name: str, bits: NDArray[np.bool_]) -> None:
    """Add bits most of which may be 0: which bytes of eight are not, and these.

    A code of whole bits takes one for each byte at least, which is much for bytes that are 0.
    """
    packed = np.packbits(bits)
    out.put(f"{name}.where", np.packbits(packed > 0))
    out.put(name, packed[packed > 0])


def _take_bits(streams: Reader, name: str, count: int) -> NDArray[np.bool_]:
    packed = np.zeros(-(-count // 8), np.uint8)
    where = _unpacked(streams.take(f"{name}.where", -(-len(packed) // 8)), len(packed))
    packed[where] = streams.take(name, int(np.count_nonzero(where)))
    return _unpacked(packed, count)


def _unpacked(packed: Bytes, count: int) -> NDArray[np.bool_]:
    return np.unpackbits(packed, count=count).astype(bool)


def put_differences(out: Writer, old: Unsigned, new: Unsigned, *, is_float: bool) -> None:
    """Add the differences of bit patterns, as integers.

    Patterns of numbers that follow each other follow each other, through zero too.

    Args:
        out: The streams.
        old: Patterns ``(values,)``.
        new: The same, of the same type.
        is_float: Whether they are of numbers with a sign bit.
    """
    if is_float:
        old, new = _in_order(old), _in_order(new)
    difference = new - old
    top = np.array(8 * difference.itemsize - 1, difference.dtype)
    one = np.array(1, difference.dtype)
    folded = (difference << one) ^ (0 * one - (difference >> top))
    _put_planes(out, f"bits.{difference.itemsize}", folded)


def take_differences(streams: Reader, old: Unsigned, *, is_float: bool) -> Unsigned:
    """The new patterns, of which :func:`put_differences` put the differences.

    Args:
        streams: The streams.
        old: The old patterns.
        is_float: Whether they are of numbers with a sign bit.
    """
    folded = _take_planes(streams, f"bits.{old.itemsize}", len(old), old.itemsize)
    one = np.array(1, old.dtype)
    difference = (folded >> one) ^ (0 * one - (folded & one))
    if is_float:
        return _in_order(_in_order(old) + difference)
    return old + difference


def _in_order(patterns: Unsigned) -> Unsigned:
    """Patterns of floating-point numbers as integers in the same order, and back: -0 is below 0."""
    top = np.array(8 * patterns.itemsize - 1, patterns.dtype)
    one = np.array(1, patterns.dtype)
    negative = patterns >> top
    return np.asarray(patterns ^ (negative * ((one << top) - one)))


def _put_planes(out: Writer, name: str, values: Unsigned) -> None:
    """Each byte of the numbers to a stream of its own, the most significant one first."""
    size = values.itemsize
    planes = np.ascontiguousarray(values.astype(f">u{size}")).view(np.uint8).reshape(-1, size)
    for plane in range(size):
        out.put(f"{name}.{plane}", np.ascontiguousarray(planes[:, plane]))


def _take_planes(streams: Reader, name: str, count: int, size: int) -> Unsigned:
    planes = np.empty((count, size), np.uint8)
    for plane in range(size):
        planes[:, plane] = streams.take(f"{name}.{plane}", count)
    return planes.view(f">u{size}").reshape(-1).astype(f"=u{size}")
