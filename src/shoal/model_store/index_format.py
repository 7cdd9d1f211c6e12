"""The parts of the index, and how they are written."""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.formats.hashing import canonical_json, json_hash
from shoal.model_store.codecs import CODECS, NONE, RAW
from shoal.model_store.tensors import DTYPES, HASH_BYTES, Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shoal.model_store.backends import Backend
    from shoal.model_store.tensors import JsonObject

    Bytes = NDArray[np.uint8]
    Rows = NDArray[Any]

ROOT = "pool.json"
FORMAT = 1
MODELS_A_PAGE = 32
FRAMES_A_PAGE = 64
FRAME = np.dtype(
    [
        ("offset", "<u8"),
        ("size", "<u8"),
        ("first", "<u4"),
        ("pack", "<u2"),
        ("form", "<u4"),
        ("depth", "u1"),
    ]
)
"""A stored frame: where it lies, the number of its first tensor, and how it is decoded."""

TENSOR = np.dtype([("address", "u1", (HASH_BYTES,)), ("reference", "<u4")])
"""A stored tensor: its content address, and the number of the tensor that it is compared with."""

PAGE = np.dtype(
    [
        ("first", "<u8"),
        ("start", "<u8"),
        ("size", "<u8"),
        ("plain", "<u8"),
        ("hash", f"V{HASH_BYTES}"),
    ]
)
"""A page: its first model's key or first tensor, where it lies, its sizes, and its hash."""

LARGEST_ROOT = 1 << 16
LARGEST_PAGE = 1 << 24  # or LARGEST_RATIO times its stored size
FILE_NAMES = re.compile(r"pack-[0-9a-f]{32}\.zarr\.zip|index-[0-9a-f]{32}")

Layout = tuple[tuple[str, Kind], ...]
"""Names and kinds of a model's tensors, in order."""


@dataclass(frozen=True)
class ModelEntry:
    """A model: its id, its layout's place in the header, its tensors' numbers, its record."""

    model: str
    layout: int
    rows: tuple[int, ...]
    record: JsonObject


@dataclass(frozen=True)
class Form:
    """Properties that frames of a pack share; the header lists them.

    Attributes:
        names: Of the tensors in a frame.
        kinds: Of the same; one type, many shapes.
        codec: ``RAW``, ``ALONE`` or ``DIFFERENCE``.
        is_squeezed: Whether the bytes below the chosen one are compressed too.
        keys: The chosen byte of each tensor's words; for each place, where in the pack that
            lies: offset and size; nothing for ``RAW``.
    """

    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    codec: int
    is_squeezed: bool = False
    keys: tuple[int, ...] | slice | None = None

    @functools.cached_property
    def bytes(self) -> int:
        """Bytes that a frame stands for."""
        return sum(kind.bytes for kind in self.kinds)

    @functools.cached_property
    def slots(self) -> list[int]:
        """Words of each tensor."""
        return [kind.words for kind in self.kinds]

    @functools.cached_property
    def stops(self) -> list[int]:
        """Ends of the tensors' bytes."""
        return list(itertools.accumulate(kind.bytes for kind in self.kinds))

    @property
    def word_type(self) -> np.dtype[Any]:
        """Unsigned integer that holds one word."""
        return self.kinds[0].word_type

    @property
    def is_float(self) -> bool:
        """Whether the words are those of floats."""
        return DTYPES[self.kinds[0].dtype].fraction is not None


@dataclass(frozen=True)
class PackPlace:
    """A pack, as the header keeps it."""

    name: str
    bytes: int
    forms: tuple[Form, ...]


@dataclass
class Contents:
    """All that an index says, to be changed and written as the next one."""

    layouts: list[Layout] = field(default_factory=list)
    packs: list[PackPlace] = field(default_factory=list)
    entries: dict[str, ModelEntry] = field(default_factory=dict)
    frames: Rows = field(default_factory=lambda: np.empty(0, FRAME))
    tensors: Rows = field(default_factory=lambda: np.empty(0, TENSOR))


def model_key(model: str) -> int:
    """A model's place in the index: eight bytes of a hash over its id."""
    digest = hashlib.sha256(model.encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8])


def kind_of(dtype: str, shape: list[int]) -> Kind:
    """Type and shape as they were written.

    Raises:
        ValueError: They are none.
    """
    if dtype not in DTYPES or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"no kind of tensors: {dtype!r:.40} {shape!r:.80}")
    return _kind(dtype, tuple(shape))


_kind = functools.lru_cache(maxsize=1024)(Kind)
"""Kinds recur in each form, and know their sizes once they were asked."""


def pack_place(name: str, size: int, forms: list[Any]) -> PackPlace:
    """A pack as it was written.

    Raises:
        ValueError: It could not have been; its name would be another path, for one.
    """
    if not FILE_NAMES.fullmatch(name):
        raise ValueError(f"no name of a pack: {name!r:.80}")
    return PackPlace(name, int(size), tuple(_form(int(size), *form) for form in forms))


def _form(
    end: int,
    dtype: str,
    names: list[Any],
    shapes: list[Any],
    codec: int,
    squeezed: int,
    keys: Any,  # noqa: ANN401
) -> Form:
    kinds = tuple(kind_of(dtype, shape) for shape in shapes)
    if not (len(names) == len(kinds) and 0 <= codec < len(CODECS)):
        raise ValueError(f"no form of frames: {codec!r:.20}, {names!r:.80}")
    chosen: tuple[int, ...] | slice | None = None
    if isinstance(keys, dict):
        chosen = slice(*map(int, keys["at"]))
        sound = 0 <= chosen.start <= chosen.stop <= end
    elif codec != RAW:
        chosen = tuple(map(int, keys))
        size = kinds[0].word_type.itemsize
        sound = len(chosen) == len(kinds) and all(0 <= key < size for key in chosen)
    else:
        sound = keys is None
    if not sound:
        raise ValueError(f"no chosen bytes: {keys!r:.80}")
    return Form(tuple(map(str, names)), kinds, codec, bool(squeezed), chosen)


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
        models.append((part[0][0], *_append(body, canonical_json(listed).encode())))
    header = {
        "layouts": [[[n, k.dtype, k.shape] for n, k in layout] for layout in contents.layouts],
        "packs": [
            [pack.name, pack.bytes, [_form_json(form) for form in pack.forms]]
            for pack in contents.packs
        ],
        "pages": len(models),
        "counts": [len(entries), len(contents.frames), len(contents.tensors)],
    }
    # As rows of numpy: to read one model costs no more where there are many pages.
    pages = np.array(models + _frame_pages(body, contents), PAGE)
    place = _append(body, canonical_json(header).encode() + b"\n" + pages.tobytes())
    name = f"index-{hashlib.sha256(body).hexdigest()[:32]}"
    with backend.write(name) as file:
        file.write(body)
    record = {"format": FORMAT, "index": name, "header": [*place[:3], place[3].hex()]}
    return canonical_json(record | {"seal": json_hash(record)}).encode() + b"\n"


def _frame_pages(body: bytearray, contents: Contents) -> list[tuple[Any, ...]]:
    """Frames and their tensors, a page after another."""
    tensors = contents.tensors.copy()
    refers = tensors["reference"] != NONE
    # How far back a reference lies is much the same for all tensors of a frame.
    tensors["reference"] = np.where(
        refers, np.arange(len(tensors), dtype=np.uint32) - tensors["reference"], 0
    )
    firsts = contents.frames["first"][::FRAMES_A_PAGE].tolist()
    pages = []
    for number, (first, stop) in enumerate(itertools.pairwise([*firsts, len(tensors)])):
        frames = contents.frames[number * FRAMES_A_PAGE : (number + 1) * FRAMES_A_PAGE]
        plain = shuffled(frames) + shuffled(tensors[first:stop])
        pages.append((first, *_append(body, plain)))
    return pages


def shuffled(rows: Rows) -> bytes:
    """Byte by byte of all rows: zstd then sees what repeats."""
    return np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1).T.tobytes()


def unshuffled(content: Bytes, dtype: np.dtype[Any]) -> Rows:
    """Rows that :func:`shuffled` wrote."""
    columns = content.reshape(dtype.itemsize, -1)
    return np.ascontiguousarray(columns.T).reshape(-1).view(dtype)


def _form_json(form: Form) -> list[Any]:
    keys: Any = {"at": [form.keys.start, form.keys.stop]} if isinstance(form.keys, slice) else None
    shapes = [kind.shape for kind in form.kinds]
    return [
        form.kinds[0].dtype,
        form.names,
        shapes,
        form.codec,
        int(form.is_squeezed),
        keys or form.keys,
    ]


def _packed_numbers(numbers: tuple[int, ...]) -> int | list[int]:
    start = numbers[0] if numbers else 0
    return start if numbers == tuple(range(start, start + len(numbers))) else list(numbers)


def _append(body: bytearray, plain: bytes) -> tuple[int, int, int, bytes]:
    """Add a page; its place, sizes and hash."""
    import zstandard

    stored = zstandard.compress(plain, 3)
    start = len(body)
    body += stored
    return start, len(stored), len(plain), hashlib.sha256(stored).digest()[:HASH_BYTES]
