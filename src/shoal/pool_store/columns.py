"""Which codec each tensor of a column gets, by trial."""

from __future__ import annotations

from dataclasses import dataclass, field
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
_ZSTD_LEVEL = 1  # higher levels look for repetitions, and there are none


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
    cuts: list[Cut] = field(default_factory=list)


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
    count = len(words)
    column = Column(
        frames=[row.tobytes() for row in words],
        codec=np.full(count, RAW),
        cut=np.zeros(count, np.int64),
        reference=np.full(count, NONE),
        depth=np.zeros(count, np.int64),
    )
    if kind.words > 1:
        for codec, reference in _candidates(references, speed):
            _try(column, kind, words, codec, reference)
    return column


def _candidates(
    references: list[Reference], speed: Speed
) -> Iterator[tuple[int, Reference | None]]:
    if speed == "small" or not references:
        yield ALONE, None
    for reference in references if speed == "small" else references[:1]:
        yield DIFFERENCE, reference
        if speed == "small":
            yield XOR, reference


def _try(
    column: Column, kind: Kind, words: NDArray[Any], codec: int, reference: Reference | None
) -> None:
    """Use a codec for the tensors that it makes smaller, if that pays for its cut."""
    chosen = np.arange(len(words))
    if reference is not None:
        chosen = np.flatnonzero((reference.numbers >= 0) & (reference.depths < LONGEST_CHAIN))
    if not len(chosen):
        return
    cut = _cut(kind, words, codec, reference, chosen)
    frames = []
    step = max(1, _BLOCK_BYTES // kind.bytes)
    for start in range(0, len(chosen), step):
        left = _left(kind, words, codec, reference, chosen[start : start + step])
        frames += encoded(cut, left, _ZSTD_LEVEL)
    gains = np.array([len(column.frames[at]) for at in chosen]) - [len(f) for f in frames]
    better = np.flatnonzero(gains > 0)
    if gains[better].sum() <= (0 if isinstance(cut.bits, int) else len(cut.bits) // 2):
        return
    taken = chosen[better]
    for at, number in zip(taken.tolist(), better.tolist(), strict=True):
        column.frames[at] = frames[number]
    column.codec[taken] = codec
    column.cut[taken] = len(column.cuts)
    column.cuts.append(cut)
    column.reference[taken] = NONE if reference is None else reference.numbers[taken]
    column.depth[taken] = 0 if reference is None else reference.depths[taken] + 1


def _left(
    kind: Kind,
    words: NDArray[Any],
    codec: int,
    reference: Reference | None,
    chosen: NDArray[np.int64],
) -> NDArray[Any]:
    if reference is None:
        return residual(codec, kind, words[chosen], None)
    other = reference.words if len(reference.words) == 1 else reference.words[chosen]
    return residual(codec, kind, words[chosen], other)


def _cut(
    kind: Kind,
    words: NDArray[Any],
    codec: int,
    reference: Reference | None,
    chosen: NDArray[np.int64],
) -> Cut:
    """The cut for a codec, fitted to a sample of the tensors."""
    lone = lone_cut(kind)
    if codec == ALONE and lone is not None:
        return lone
    most = max(_CUT_BY_PLACE, min(_SAMPLE_ROWS, _SAMPLE_WORDS // kind.words))
    sample = chosen[:: -(-len(chosen) // most)]
    left = _left(kind, words, codec, reference, sample)
    return fitted_cut(kind, left, by_place=len(chosen) >= _CUT_BY_PLACE)
