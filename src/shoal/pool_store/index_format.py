"""What the index consists of, and how its parts are written."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.hashing import canonical_json, json_hash
from shoal.pool_store.tensors import DTYPES, HASH_BYTES, Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shoal.pool_store.backends import Backend
    from shoal.pool_store.pack import StoredCut

    Rows = NDArray[Any]

ROOT = "pool.json"
FORMAT = 1
MODELS_A_PAGE = 32
TENSORS_A_PAGE = 512
ROW = np.dtype(
    [
        ("address", "u1", (HASH_BYTES,)),
        ("offset", "<u8"),
        ("size", "<u8"),
        ("reference", "<u4"),
        ("pack", "<u2"),
        ("column", "<u2"),
        ("cut", "<u2"),
        ("codec", "u1"),
        ("depth", "u1"),
    ]
)
"""A stored tensor: its content address, where its frame lies, and how it is decoded."""

LARGEST_ROOT = 1 << 16
LARGEST_PAGE = 1 << 24  # or LARGEST_RATIO times its stored size
FILE_NAMES = re.compile(r"pack-[0-9a-f]{32}\.zarr\.zip|index-[0-9a-f]{32}")

Layout = tuple[tuple[str, Kind], ...]
"""Names and kinds of a model's tensors, in order."""


@dataclass(frozen=True)
class Entry:
    """A model: its id, its layout's place in the header, its tensors' numbers, its record."""

    model: str
    layout: int
    rows: tuple[int, ...]
    record: dict[str, Any]


@dataclass(frozen=True)
class ColumnPlace:
    """A column of a pack, as the header keeps it."""

    name: str
    kind: Kind
    cuts: tuple[StoredCut, ...]


@dataclass(frozen=True)
class PackPlace:
    """A pack, as the header keeps it."""

    name: str
    bytes: int
    columns: tuple[ColumnPlace, ...]


@dataclass
class Contents:
    """All that an index says, to be changed and written as the next one."""

    layouts: list[Layout] = field(default_factory=list)
    packs: list[PackPlace] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    rows: Rows = field(default_factory=lambda: np.empty(0, ROW))


@dataclass(frozen=True)
class Page:
    """Where a page lies in the index file: first model's key, place, sizes and hash."""

    first: str
    start: int
    size: int
    plain: int
    hash: str


def model_key(model: str) -> str:
    """Where a model stands in the index: eight bytes of a hash over its id, hexadecimal."""
    return hashlib.sha256(model.encode(errors="surrogatepass")).hexdigest()[:16]


def kind_of(dtype: str, shape: list[int]) -> Kind:
    """Type and shape as they were written.

    Raises:
        ValueError: They are none.
    """
    if dtype not in DTYPES or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"no kind of tensors: {dtype!r:.40} {shape!r:.80}")
    return Kind(dtype, tuple(shape))


def pack_place(name: str, size: int, columns: list[Any]) -> PackPlace:
    """A pack as it was written.

    Raises:
        ValueError: It could not have been; its name would be another path, for one.
    """
    if not FILE_NAMES.fullmatch(name):
        raise ValueError(f"no name of a pack: {name!r:.80}")
    return PackPlace(
        name,
        int(size),
        tuple(
            ColumnPlace(str(name), kind_of(dtype, shape), tuple(_cut_place(cut) for cut in cuts))
            for name, dtype, shape, cuts in columns
        ),
    )


def _cut_place(cut: Any) -> StoredCut:  # noqa: ANN401 - JSON
    if isinstance(cut, int):
        return cut
    offset, size, places = cut
    return int(offset), int(size), int(places)


def write_index(backend: Backend, contents: Contents) -> None:
    """Make ``contents`` the state of the store, in one step."""
    write_root(backend, write_index_file(backend, contents))


def write_root(backend: Backend, root: bytes) -> None:
    """Make the index file that ``root`` names the one that counts."""
    with backend.write(ROOT) as file:
        file.write(root)


def write_index_file(backend: Backend, contents: Contents) -> bytes:
    """Write ``contents`` to an index file; what ``pool.json`` has to hold for it to count."""
    body = bytearray()
    entries = sorted((model_key(model), entry) for model, entry in contents.entries.items())
    models = []
    for start in range(0, len(entries), MODELS_A_PAGE):
        part = entries[start : start + MODELS_A_PAGE]
        listed = [[e.model, e.layout, _packed_numbers(e.rows), e.record] for _, e in part]
        models.append([part[0][0], *_append(body, canonical_json(listed).encode())])
    tensors = []
    for start in range(0, len(contents.rows), TENSORS_A_PAGE):
        rows = contents.rows[start : start + TENSORS_A_PAGE]
        # Byte by byte of all rows: zstd then sees what repeats.
        shuffled = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1).T.tobytes()
        tensors.append(["", *_append(body, shuffled)])
    header = {
        "layouts": [[[n, k.dtype, k.shape] for n, k in layout] for layout in contents.layouts],
        "packs": [_pack_json(pack) for pack in contents.packs],
        "models": models,
        "tensors": tensors,
        "count": len(entries),
        "rows": len(contents.rows),
    }
    place = _append(body, canonical_json(header).encode())
    name = f"index-{hashlib.sha256(body).hexdigest()[:32]}"
    with backend.write(name) as file:
        file.write(body)
    record = {"format": FORMAT, "index": name, "header": place}
    return canonical_json(record | {"seal": json_hash(record)}).encode() + b"\n"


def _pack_json(pack: PackPlace) -> list[Any]:
    columns = [[c.name, c.kind.dtype, c.kind.shape, c.cuts] for c in pack.columns]
    return [pack.name, pack.bytes, columns]


def _packed_numbers(numbers: tuple[int, ...]) -> int | list[int]:
    start = numbers[0] if numbers else 0
    return start if numbers == tuple(range(start, start + len(numbers))) else list(numbers)


def _append(body: bytearray, plain: bytes) -> list[Any]:
    """Add a page; its place, sizes and hash."""
    from numcodecs import zstd

    stored = zstd.compress(plain, 3)
    start = len(body)
    body += stored
    return [start, len(stored), len(plain), hashlib.sha256(stored).hexdigest()[:32]]
