"""A zarr (v3) group of arrays of bytes, in a zip file without compression of its own."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, BinaryIO, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_AT_ONCE = 256
_GROUP = {"zarr_format": 3, "node_type": "group", "attributes": {}}
_ZSTD = {"name": "zstd", "configuration": {"level": 3, "checksum": False}}


class ZarrFile:
    """A group that is written array by array; the same content gives the same bytes.

    Args:
        file: Where it is written.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._archive = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED)

    def __enter__(self) -> Self:
        self._member("zarr.json", [_json(_GROUP)])
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def add(self, name: str, parts: Sequence[bytes], attributes: Mapping[str, object]) -> int:
        """Add an array whose one chunk is these parts, one after another.

        Returns:
            Where in the file the first begins.
        """
        return self._add(name, parts, _array(sum(map(len, parts)), [], attributes))

    def add_compressed(
        self, name: str, content: bytes, size: int, attributes: Mapping[str, object]
    ) -> int:
        """Add an array of ``size`` bytes which zstd has made ``content`` of.

        Returns:
            Where in the file it begins.
        """
        return self._add(name, [content], _array(size, [_ZSTD], attributes))

    def _add(self, name: str, parts: Sequence[bytes], array: Mapping[str, object]) -> int:
        self._member(f"{name}/zarr.json", [_json(array)])
        return self._member(f"{name}/c/0", parts)

    def _member(self, name: str, parts: Sequence[bytes]) -> int:
        about = zipfile.ZipInfo(name, _ZIP_TIME)
        about.file_size = sum(map(len, parts))
        with self._archive.open(about, "w") as member:
            start = self._file.tell()
            for first in range(0, len(parts), _AT_ONCE):
                member.write(b"".join(parts[first : first + _AT_ONCE]))
        return start


def _json(content: Mapping[str, object]) -> bytes:
    return json.dumps(content, sort_keys=True).encode()


def _array(
    size: int, codecs: Sequence[Mapping[str, object]], attributes: Mapping[str, object]
) -> dict[str, object]:
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
        "attributes": dict(attributes),
    }
