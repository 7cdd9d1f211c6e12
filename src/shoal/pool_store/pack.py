"""A pack: the tensors of many models in one zarr file, parameter after parameter.

A pack is a zarr (v3) group in a zip file without compression of its own. For each parameter it
has an array of the tensors' frames, one after another, and one of the cuts where they are cut by
place. The index says where in the file each frame lies, so reading needs neither zip nor zarr.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from shoal.hashing import json_hash
from shoal.pool_store.frames import padded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shoal.pool_store.frames import Cut
    from shoal.pool_store.tensors import Kind

_ZIP_TIME = (1980, 1, 1, 0, 0, 0)

StoredCut = int | tuple[int, int, int]
"""Low bits of all places; or where in the pack those of each place lie: offset, bytes, places."""


@dataclass
class PackColumn:
    """One parameter's tensors, ready to be written.

    Attributes:
        name: The parameter's name in the models.
        kind: Type and shape of the tensors.
        frames: Their bytes.
        cuts: A cut, or its stored bytes and number of places, for each form of frame.
    """

    name: str
    kind: Kind
    frames: Sequence[bytes | memoryview]
    cuts: Sequence[int | tuple[bytes, int]]


@dataclass(frozen=True)
class Written:
    """Where a column came to lie.

    Attributes:
        offsets: Of each frame in the pack's file.
        cuts: Of each cut.
    """

    offsets: list[int]
    cuts: list[StoredCut]


def stored_cut(cut: Cut) -> int | tuple[bytes, int]:
    """A cut as a pack keeps it."""
    from numcodecs import zstd

    if isinstance(cut.bits, int):
        return cut.bits
    return padded(zstd.compress(cut.bits, 3), len(cut.bits)), len(cut.bits)


def pack_name(columns: Sequence[PackColumn], addresses: Sequence[bytes]) -> str:
    """Name of a pack: a hash over which tensors it holds and how.

    Args:
        columns: Its columns.
        addresses: The tensors' content addresses, column after column.
    """
    layout = [
        [c.name, c.kind.dtype, list(c.kind.shape), [len(f) for f in c.frames], _plain(c.cuts)]
        for c in columns
    ]
    return f"pack-{json_hash([layout, [a.hex() for a in addresses]])[:32]}.zarr.zip"


def _plain(cuts: Sequence[int | tuple[bytes, int]]) -> list[Any]:
    return [cut if isinstance(cut, int) else cut[0].hex() for cut in cuts]


def write_pack(file: BinaryIO, columns: Sequence[PackColumn]) -> list[Written]:
    """Write columns as a zarr group; the same content gives the same bytes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _member(archive, file, "zarr.json", _json(_group()))
        return [
            _write_column(archive, file, str(number), column)
            for number, column in enumerate(columns)
        ]


def _write_column(
    archive: zipfile.ZipFile, file: BinaryIO, path: str, column: PackColumn
) -> Written:
    sizes = [len(frame) for frame in column.frames]
    about = {
        "parameter": column.name,
        "dtype": column.kind.dtype,
        "shape": list(column.kind.shape),
        "frames": len(sizes),
    }
    _member(archive, file, f"{path}/zarr.json", _json(_array(sum(sizes), [], about)))
    start = _member(archive, file, f"{path}/c/0", b"".join(column.frames))
    offsets = (start + np.cumsum([0, *sizes])[:-1]).tolist()
    cuts: list[StoredCut] = []
    for number, cut in enumerate(column.cuts):
        if isinstance(cut, int):
            cuts.append(cut)
            continue
        content, places = cut
        zstd = {"name": "zstd", "configuration": {"level": 3, "checksum": False}}
        array = _array(places, [zstd], {"low bits of": path})
        _member(archive, file, f"{path}.cut.{number}/zarr.json", _json(array))
        at = _member(archive, file, f"{path}.cut.{number}/c/0", content)
        cuts.append((at, len(content), places))
    return Written(offsets, cuts)


def _member(archive: zipfile.ZipFile, file: BinaryIO, name: str, content: bytes) -> int:
    """Add a member; where its content begins."""
    archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), content)
    return file.tell() - len(content)


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
