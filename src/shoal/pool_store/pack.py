"""A pack: the frames of many models in one zarr file.

A pack is a zarr (v3) group in a zip file without compression of its own. For each form of frames
it has an array of these, one after another, and one of the keys where each place has one. The
index says where in the file each frame lies, so reading needs neither zip nor zarr.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from shoal.hashing import canonical_json
from shoal.pool_store.residuals import CODECS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shoal.pool_store.index_format import Form

_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_AT_ONCE = 256


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
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _member(archive, file, "zarr.json", [_json(_group())])
        return [
            _write_piece(archive, file, str(number), piece) for number, piece in enumerate(pieces)
        ]


def _write_piece(
    archive: zipfile.ZipFile, file: BinaryIO, path: str, piece: Piece
) -> tuple[Form, list[int]]:
    sizes = piece.sizes
    about = _about(piece.form) | {"frames": len(sizes)}
    _member(archive, file, f"{path}/zarr.json", [_json(_array(sum(sizes), [], about))])
    start = _member(archive, file, f"{path}/c/0", piece.frames)
    offsets = (start + np.cumsum([0, *sizes])[:-1]).tolist()
    if piece.keys is None:
        return piece.form, offsets
    words = sum(piece.form.slots)
    zstd = {"name": "zstd", "configuration": {"level": 3, "checksum": False}}
    array = _array(words, [zstd], {"keys of": path})
    _member(archive, file, f"{path}.keys/zarr.json", [_json(array)])
    at = _member(archive, file, f"{path}.keys/c/0", [piece.keys])
    return replace(piece.form, keys=slice(at, at + len(piece.keys))), offsets


def _about(form: Form) -> dict[str, Any]:
    return {
        "parameters": form.names,
        "dtype": form.kinds[0].dtype,
        "shapes": [kind.shape for kind in form.kinds],
        "codec": CODECS[form.codec],
    }


def _member(archive: zipfile.ZipFile, file: BinaryIO, name: str, content: Sequence[bytes]) -> int:
    """Add a member; where its content begins."""
    about = zipfile.ZipInfo(name, _ZIP_TIME)
    about.file_size = sum(map(len, content))
    with archive.open(about, "w") as member:
        start = file.tell()
        for first in range(0, len(content), _AT_ONCE):
            member.write(b"".join(content[first : first + _AT_ONCE]))
    return start


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True).encode()


def _group() -> dict[str, Any]:
    return {"zarr_format": 3, "node_type": "group", "attributes": {}}


def _array(size: int, codecs: list[dict[str, Any]], attributes: dict[str, Any]) -> dict[str, Any]:
    """Metadata of bytes in one chunk."""
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [size],
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [max(1, size)]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes"}, *codecs],
        "attributes": attributes,
    }
