"""A pack: the frames of many models in one zarr file.

A pack is a zarr (v3) group in a zip file without compression of its own. For each form of frames
it has an array of these, one after another, and one of the keys where each place has one. The
index says where in the file each frame lies, so reading needs neither zip nor zarr.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from shoal.formats.hashing import canonical_json
from shoal.model_store.index_format import PackPlace
from shoal.model_store.residuals import CODECS
from shoal.model_store.zarr_file import ZarrFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shoal.model_store.backends import Backend
    from shoal.model_store.index_format import Contents, Form


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
        pieces: What is in it.
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


def _about(form: Form) -> dict[str, Any]:
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
        pieces: What is in it.
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
