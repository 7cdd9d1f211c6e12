"""A pack: the frames of many models in one zarr file.

A pack is a zarr (v3) group in a zip file without compression of its own. For each form of frames
it has an array of these, one after another, and one of the keys where each place has one. The
index says where in the file each frame lies, so reading needs neither zip nor zarr.
"""

from __future__ import annotations

import hashlib
import operator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from shoal.formats.hashing import canonical_json
from shoal.model_store.codecs import CODECS, NONE, RAW, nothing, residual
from shoal.model_store.frames import BLOCK_BYTES, compressed, encoded, fitted
from shoal.model_store.index_format import Form, PackPlace
from shoal.model_store.zarr_file import ZarrFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from shoal.model_store.backends import Backend
    from shoal.model_store.codecs import Reference
    from shoal.model_store.frames import Split
    from shoal.model_store.index_format import Contents
    from shoal.model_store.tensors import Kind

    Words = NDArray[Any]


@dataclass
class Piece:
    """Frames of one form, ready to be written.

    Attributes:
        form: Their form; where its keys lie is known when they are written.
        frames: Their bytes.
        keys: Compressed keys of all places, if each has its own.
    """

    form: Form
    frames: list[bytes]
    keys: bytes | None = None

    @property
    def sizes(self) -> list[int]:
        """Bytes of each frame."""
        return [len(frame) for frame in self.frames]


def pack_name(pieces: Sequence[Piece], addresses: bytes) -> str:
    """Name of a pack: a hash over which tensors it holds and how.

    Args:
        pieces: Its frames.
        addresses: The tensors' content addresses, piece after piece.
    """
    digest = hashlib.sha256(addresses)
    for piece in pieces:
        about = [_about(piece.form), piece.form.is_squeezed, (piece.keys or b"").hex()]
        digest.update(canonical_json([about, piece.form.keys if not piece.keys else 0]).encode())
        digest.update(np.array(piece.sizes, "<u8").tobytes())
    return f"pack-{digest.hexdigest()[:32]}.zarr.zip"


def write_pack(file: BinaryIO, pieces: Sequence[Piece]) -> list[tuple[Form, list[int]]]:
    """Write pieces as a zarr group; the same content gives the same bytes.

    Returns:
        Each one's form, and where each of its frames came to lie in the file.
    """
    with ZarrFile(file) as group:
        return [_write_piece(group, str(number), piece) for number, piece in enumerate(pieces)]


def _write_piece(group: ZarrFile, name: str, piece: Piece) -> tuple[Form, list[int]]:
    sizes = piece.sizes
    start = group.add(name, piece.frames, _about(piece.form) | {"frames": len(sizes)})
    offsets = (start + np.cumsum([0, *sizes])[:-1]).tolist()
    if piece.keys is None:
        return piece.form, offsets
    words = sum(piece.form.slots)
    at = group.add_compressed(f"{name}.keys", piece.keys, words, {"keys of": name})
    return replace(piece.form, keys=slice(at, at + len(piece.keys))), offsets


def _about(form: Form) -> dict[str, object]:
    return {
        "parameters": form.names,
        "dtype": form.kinds[0].dtype,
        "shapes": [kind.shape for kind in form.kinds],
        "codec": CODECS[form.codec],
    }


def add_pack(
    backend: Backend, contents: Contents, pieces: Sequence[Piece], addresses: bytes
) -> list[list[int]]:
    """Write a pack, and list it last in an index.

    Args:
        backend: Where it is written.
        contents: Of the index.
        pieces: Its frames.
        addresses: The tensors' content addresses, piece after piece.

    Returns:
        Of each piece, where its frames came to lie in the file.
    """
    name = pack_name(pieces, addresses)
    with backend.write(name) as file:
        written = write_pack(file, pieces)
        size = file.seek(0, 2)
    contents.packs.append(PackPlace(name, size, tuple(form for form, _ in written)))
    return [offsets for _, offsets in written]


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
        batch: Their tensors.
        words: ``(models, words)``.
        choice: Codec, reference, and the models they are for.

    Returns:
        Those of each codec and reference; no frame is longer than what it stands for.
    """
    found = []
    for codec, reference, rows in choice:
        plain = Form(batch.names, batch.kinds, codec)
        form, keys, frames = _smallest(plain, words, reference, rows)
        small = np.array([len(frame) for frame in frames]) < form.bytes
        if small.any():
            piece = Piece(form, [frames[row] for row in np.flatnonzero(small).tolist()], keys)
            found.append(_placed(batch, piece, rows[small], reference))
        if not small.all():
            raw = [words[row].tobytes() for row in rows[~small].tolist()]
            piece = Piece(Form(batch.names, batch.kinds, RAW), raw)
            none = nothing(len(words), 0, len(batch.kinds), words.dtype)
            found.append(_placed(batch, piece, rows[~small], none))
    return found


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
