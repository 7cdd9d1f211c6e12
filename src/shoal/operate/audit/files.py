"""Artifacts read back: whether they are whole, and which files they were made from."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shoal.errors import CorruptError, ShoalError
from shoal.formats.json_file import parse_json, read_json
from shoal.formats.provenance import KEY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_UNPACKED = 1 << 40
"""Most bytes of a patch that is read to see whether it is whole."""

Record = dict[str, Any]
"""JSON values that a file keeps beside its content."""


@dataclass(frozen=True)
class Artifact:
    """Content of a file, and its record.

    Attributes:
        content: Its JSON, or the JSON values kept with its tensors, arrays or rows.
        made_from: The files that it was made from; None where it has no such record.
    """

    content: Any
    made_from: Record | None


def read_artifact(path: Path) -> Artifact:
    """Read a file as far as its hashes and checksums go.

    Raises:
        CorruptError: It is not what its record says, or not a file of its kind.
    """
    try:
        content, record = _READERS[path.suffix](path)
    except ShoalError:
        raise
    except Exception as error:  # a damaged file makes its reader raise whatever it meets
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise CorruptError(f"{path}: is not readable ({reason})") from None
    return Artifact(content, record.get(KEY))


def _json(path: Path) -> tuple[Any, Record]:
    content = read_json(path, Any)
    return content, content if isinstance(content, dict) else {}


def _safetensors(path: Path) -> tuple[Any, Record]:
    from safetensors import safe_open

    from shoal.formats.fitted_state import load_state

    _, meta = load_state(path)
    with safe_open(path, framework="np") as file:
        return meta, parse_json(file.metadata()["shoal"], path, Record)


def _parquet(path: Path) -> tuple[Any, Record]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        found = (file.metadata.metadata or {}).get(b"shoal")
        if found is None:
            # Nothing else holds a hash of such a table, so its pages are read.
            for _ in file.iter_batches():
                pass
            return {}, {}
    record = parse_json(found, path, Record)
    return record, record


def _rows(path: Path) -> tuple[Any, Record]:
    from shoal.formats.row_store import ShardRows

    _members(path)
    with ShardRows(path) as store:
        return store.attributes, store.attributes


def _members(path: Path) -> tuple[Any, Record]:
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise CorruptError(f"{path}: member {damaged!r} does not match its checksum")
    return {}, {}


def _page(path: Path) -> tuple[Any, Record]:
    if not path.read_text().rstrip().endswith("</html>"):
        raise CorruptError(f"{path}: is cut short")
    return {}, {}


def _patch(path: Path) -> tuple[Any, Record]:
    from shoal_edge.patch import Patch

    content = path.read_bytes()
    if content:  # two copies between which there is no patch have an empty one
        Patch.parse(content, _UNPACKED)
    return {}, {}


_READERS: dict[str, Callable[[Path], tuple[Any, Record]]] = {
    ".json": _json,
    ".safetensors": _safetensors,
    ".parquet": _parquet,
    ".zip": _rows,
    ".html": _page,
    ".patch": _patch,
}
