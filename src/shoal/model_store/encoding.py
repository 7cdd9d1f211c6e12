"""Words of many models as frames by the codec that was chosen for each, or as they are."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.model_store.choices import NONE, nothing
from shoal.model_store.fitting import fitted
from shoal.model_store.frames import BLOCK_BYTES, compressed, encoded
from shoal.model_store.index_format import Form
from shoal.model_store.pack import Piece
from shoal.model_store.residuals import RAW, residual

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from shoal.model_store.choices import Reference
    from shoal.model_store.frames import Split
    from shoal.model_store.tensors import Kind

    Words = NDArray[Any]

_BY_PLACE = 16  # models from which a key for each place is worth its bytes untried
_FEWEST, _SAMPLE = 4, 64  # models that keys are fitted to
_SAMPLE_WORDS = 1 << 22


@dataclass(frozen=True)
class Encoded:
    """Frames of one form, and where they belong.

    Attributes:
        piece: The frames.
        frames: Number of each.
        firsts: Number of each one's first tensor.
        references: Tensors that each is compared with, ``(frames or 1, tensors)``.
        depths: References to follow for each.
    """

    piece: Piece
    frames: NDArray[np.int64]
    firsts: NDArray[np.int64]
    references: NDArray[np.int64]
    depths: NDArray[np.int64]


@dataclass
class Batch:
    """Models of which tensors of the same names and kinds, all of one type, are to be stored.

    Attributes:
        names: Of the tensors.
        kinds: Of the tensors.
        frames: Number of each model's frame.
        firsts: Number of each model's first tensor.
    """

    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    frames: list[int] = field(default_factory=list)
    firsts: list[int] = field(default_factory=list)


def encoded_batch(
    batch: Batch,
    words: Words,
    choice: Iterable[tuple[int, Reference, NDArray[np.intp]]],
) -> list[Encoded]:
    """Frames of many models.

    Args:
        batch: What they are of.
        words: ``(models, words)``.
        choice: Codec, reference, and the models they are for.

    Returns:
        Those of each codec and reference; no frame is longer than what it stands for.
    """
    found = []
    for codec, reference, rows in choice:
        form, keys, frames = _smallest(
            Form(batch.names, batch.kinds, codec), words, reference, rows
        )
        small = np.array([len(frame) for frame in frames]) < form.bytes
        if small.any():
            piece = Piece(form, _picked(frames, small), keys)
            found.append(_placed(batch, piece, rows[small], reference))
        if not small.all():
            raw = [words[row].tobytes() for row in rows[~small].tolist()]
            piece = Piece(Form(batch.names, batch.kinds, RAW), raw)
            none = nothing(len(words), 0, len(batch.kinds), words.dtype)
            found.append(_placed(batch, piece, rows[~small], none))
    return found


def _picked(frames: list[bytes], small: NDArray[np.bool_]) -> list[bytes]:
    return frames if small.all() else [frames[row] for row in np.flatnonzero(small).tolist()]


def _placed(batch: Batch, piece: Piece, rows: NDArray[np.intp], reference: Reference) -> Encoded:
    numbers = reference.numbers if len(reference.numbers) == 1 else reference.numbers[rows]
    depths = np.where((numbers == NONE).all(axis=1), 0, reference.depths[rows] + 1)
    frames, firsts = np.array(batch.frames)[rows], np.array(batch.firsts)[rows]
    return Encoded(piece, frames, firsts, numbers, depths)


def _smallest(
    form: Form, words: Words, reference: Reference, rows: NDArray[np.intp]
) -> tuple[Form, bytes | None, list[bytes]]:
    """Frames of the models at ``rows``, with keys by place where these pay."""
    most = max(_FEWEST, min(_SAMPLE, _SAMPLE_WORDS // max(1, words.shape[1])))
    sample = rows[:: -(-len(rows) // most)]
    left = residual(form.codec, form.is_float, words[sample], reference.of(sample))
    tried = []
    for by_place in (True, False) if len(rows) < _BY_PLACE else (True,):
        split = fitted(left, form.slots, by_place)
        keys = compressed(split.keys.tobytes()) if by_place else None
        bytes_ = None if by_place else split.bytes_by_tensor(form.slots)
        frames = _frames(form, split, words, reference, rows)
        size = sum(map(len, frames)) + len(keys or b"")
        tried.append(
            (size, replace(form, is_squeezed=split.is_squeezed, keys=bytes_), keys, frames)
        )
    return min(tried, key=operator.itemgetter(0))[1:]


def _frames(
    form: Form, split: Split, words: Words, reference: Reference, rows: NDArray[np.intp]
) -> list[bytes]:
    found: list[bytes] = []
    step = max(1, BLOCK_BYTES // max(1, form.bytes))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        own = words[start : start + step] if len(rows) == len(words) else words[part]
        found += encoded(split, residual(form.codec, form.is_float, own, reference.of(part)))
    return found
