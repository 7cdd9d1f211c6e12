"""Texts of a pool without the digests in them, which do not compress and mostly follow from others.

In place of each SHA-256 stands a zero byte. Digests that whoever has the old pool and the new
tensors can compute are told by their number among these, and all others by their bytes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from shoal_edge.errors import PatchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shoal_edge.integers import Reader, Writer

_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_MARK = b"\0"
_BYTES = 32


def without_digests(text: bytes) -> tuple[bytes, list[str]]:
    """A text with marks in place of digests, and these in order.

    Raises:
        PatchError: A mark is in it.
    """
    if _MARK in text:
        raise PatchError("a text with zero bytes")
    return _DIGEST.sub(_MARK, text), [found.decode() for found in _DIGEST.findall(text)]


def put_digests(out: Writer, digests: Sequence[str], known: Sequence[str]) -> None:
    """Add the digests of a text.

    Args:
        out: The streams.
        digests: The digests, in order.
        known: Those that the reader knows, in an order that it knows.
    """
    places = {digest: place for place, digest in reversed(list(enumerate(known)))}
    expected = 0
    numbers = []
    for digest in digests:
        # The one behind the last one is told by 0; what is not known has the last place.
        same = expected < len(known) and known[expected] == digest
        place = expected if same else places.get(digest)
        if place is None:
            out.put("digests.new", np.frombuffer(bytes.fromhex(digest), np.uint8))
            place = len(known)
        numbers.append((place - expected) % (len(known) + 1))
        expected = place + 1
    out.put("digests.known", np.array(numbers, "<u4").view(np.uint8))


def with_digests(streams: Reader, text: bytes, known: Sequence[str]) -> bytes:
    """A text with the digests that :func:`put_digests` put in place of its marks.

    Args:
        streams: The streams.
        text: The text with marks.
        known: As there.
    """
    pieces = text.split(_MARK)
    numbers = streams.take("digests.known", 4 * (len(pieces) - 1)).view("<u4").tolist()
    whole, expected = [pieces[0]], 0
    for number, piece in zip(numbers, pieces[1:], strict=True):
        place = (expected + number) % (len(known) + 1)
        expected = place + 1
        if place < len(known):
            digest = known[place].encode()
        else:
            digest = streams.take("digests.new", _BYTES).tobytes().hex().encode()
        whole += [digest, piece]
    return b"".join(whole)
