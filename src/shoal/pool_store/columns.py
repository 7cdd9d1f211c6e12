"""Which codec each tensor of a column gets, by trial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from shoal.pool_store.frames import Cut, encoded, fitted_cut, lone_cut
from shoal.pool_store.residuals import ALONE, DIFFERENCE, RAW, XOR, residual

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from shoal.pool_store.tensors import Kind

Speed = Literal["fast", "small"]
"""What matters more: ``fast`` tries one codec a tensor, ``small`` all of them."""

LONGEST_CHAIN = 8
"""References that are followed, at most, to recover a tensor."""

NONE = 0xFFFFFFFF
"""In place of a reference: there is none."""

_CUT_BY_PLACE = 16  # tensors from which a cut for each place is worth its bytes
_SAMPLE_ROWS = 64
_SAMPLE_WORDS = 1 << 22
_BLOCK_BYTES = 1 << 20
_ZSTD_LEVEL: dict[Speed, int | None] = {"small": 1, "fast": None}  # higher ones gain nothing


@dataclass(frozen=True)
class Reference:
    """Tensors to compare a column's tensors with.

    Attributes:
        words: ``(tensors, words)``, or ``(1, words)`` for the same to all.
        numbers: Where each lies in the store, int64 ``(tensors,)``; -1 for a tensor without.
        depths: References to follow to recover it, ``(tensors,)``.
    """

    words: NDArray[Any]
    numbers: NDArray[np.int64]
    depths: NDArray[np.int64]


@dataclass
class Column:
    """Encoded tensors of one kind, in the order in which they came.

    Attributes:
        frames: Bytes of each.
        codec: Codec of each.
        cut: Each one's place in ``cuts``.
        reference: Number of each one's reference, or ``NONE``.
        depth: References to follow.
        cuts: The cuts in use.
    """

    frames: list[bytes]
    codec: NDArray[np.int64]
    cut: NDArray[np.int64]
    reference: NDArray[np.int64]
    depth: NDArray[np.int64]
    cuts: list[Cut]


def encode_column(
    kind: Kind, words: NDArray[Any], references: list[Reference], speed: Speed
) -> Column:
    """Encode tensors of one kind, each by the codec that makes it smallest.

    Args:
        kind: Type and shape of each.
        words: ``(tensors, words)``.
        references: What they may be compared with, the most promising first.
        speed: How many codecs are tried.

    Returns:
        Their frames; none is longer than the tensor itself.
    """
    trial = _Trial(kind, words, speed)
    if kind.words > 1:
        for codec, reference in _candidates(references, speed):
            trial.use(codec, reference)
    return trial.column()


def _candidates(
    references: list[Reference], speed: Speed
) -> Iterator[tuple[int, Reference | None]]:
    if speed == "small" or not references:
        yield ALONE, None
    if speed == "fast":
        yield from ((XOR, reference) for reference in references[:1])
        return
    for reference in references:
        yield DIFFERENCE, reference
        yield XOR, reference


class _Trial:
    """The smallest frames so far."""

    def __init__(self, kind: Kind, words: NDArray[Any], speed: Speed) -> None:
        self._kind = kind
        self._words = words
        self._speed = speed
        self._frames: list[bytes | None] = [None] * len(words)
        self._sizes = np.full(len(words), kind.bytes)
        self._codec = np.full(len(words), RAW)
        self._cut = np.zeros(len(words), np.int64)
        self._reference = np.full(len(words), NONE)
        self._depth = np.zeros(len(words), np.int64)
        self._cuts: list[Cut] = []

    def use(self, codec: int, reference: Reference | None) -> None:
        """Use a codec for the tensors that it makes smaller, if that pays for its cut."""
        chosen = np.arange(len(self._words))
        if reference is not None:
            there = (reference.numbers >= 0) & (reference.depths < LONGEST_CHAIN)
            chosen = np.flatnonzero(there)
        if not len(chosen):
            return
        cut = self._fitted(codec, reference, chosen)
        frames: list[bytes] = []
        step = max(1, _BLOCK_BYTES // self._kind.bytes)
        for start in range(0, len(chosen), step):
            left = self._left(codec, reference, chosen[start : start + step])
            frames += encoded(cut, left, _ZSTD_LEVEL[self._speed])
        gains = self._sizes[chosen] - [len(frame) for frame in frames]
        better = np.flatnonzero(gains > 0)
        if gains[better].sum() <= (0 if isinstance(cut.bits, int) else len(cut.bits) // 2):
            return
        taken = chosen[better]
        for at, number in zip(taken.tolist(), better.tolist(), strict=True):
            self._frames[at] = frames[number]
        self._sizes[taken] -= gains[better]
        self._codec[taken] = codec
        self._cut[taken] = len(self._cuts)
        self._cuts.append(cut)
        self._reference[taken] = NONE if reference is None else reference.numbers[taken]
        self._depth[taken] = 0 if reference is None else reference.depths[taken] + 1

    def column(self) -> Column:
        """The frames; the bytes themselves where no codec made them smaller."""
        rows = zip(self._words, self._frames, strict=True)
        frames = [row.tobytes() if frame is None else frame for row, frame in rows]
        used, cut = np.unique(self._cut, return_inverse=True)
        cuts = [self._cuts[number] for number in used.tolist()] if self._cuts else []
        return Column(frames, self._codec, cut, self._reference, self._depth, cuts)

    def _left(
        self, codec: int, reference: Reference | None, chosen: NDArray[np.int64]
    ) -> NDArray[Any]:
        if reference is None:
            return residual(codec, self._kind, self._words[chosen], None)
        other = reference.words if len(reference.words) == 1 else reference.words[chosen]
        return residual(codec, self._kind, self._words[chosen], other)

    def _fitted(self, codec: int, reference: Reference | None, chosen: NDArray[np.int64]) -> Cut:
        """The cut for a codec, fitted to a sample of the tensors."""
        lone = lone_cut(self._kind)
        if codec == ALONE and lone is not None:
            return lone
        most = max(_CUT_BY_PLACE, min(_SAMPLE_ROWS, _SAMPLE_WORDS // self._kind.words))
        left = self._left(codec, reference, chosen[:: -(-len(chosen) // most)])
        by_place = len(chosen) >= _CUT_BY_PLACE
        return fitted_cut(self._kind, left, by_place, compressed=self._speed == "small")
