"""The catalogue of kept activations: blocks of many models and layers, packed in few files."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from typing_extensions import TypedDict

from shoal.errors import CorruptError
from shoal.explore.intermediates.forms import Kind, LayerRecord, frame, unframed
from shoal.explore.intermediates.rows import ADDRESS_BYTES
from shoal.formats.fitted_state import load_state, save_state
from shoal.formats.hashing import canonical_json, json_hash
from shoal.formats.json_file import parse_json
from shoal.model_store.backends import Folder
from shoal.model_store.zarr_file import ZarrFile
from shoal.terminal import say

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import NDArray

_FILE = "catalogue.safetensors"
_PACK = "pack-*.zarr.zip"
_PACK_BYTES = 1 << 26
_OVERHEAD = 1024  # bytes of a pack, and of each of its columns, beside the frames, at most


class KeptLayer(TypedDict):
    """Kept activations of a layer in a form.

    Attributes:
        layer: The layer's name.
        form: The form.
        wanted: Blocks that models want.
        distinct: Different ones among them.
        kept: Those of them that are kept.
        rows: Rows of kept blocks.
        bytes: Bytes of kept blocks.
        size: Bytes per row.
        read: Predicted seconds to read a row.
        recompute: Predicted seconds to recompute a row.
        note: Why others are not kept.
    """

    layer: str
    form: str
    wanted: int
    distinct: int
    kept: int
    rows: int
    bytes: int
    size: float
    read: float
    recompute: float
    note: str


class Record(TypedDict, total=False):
    """Kept with the blocks: requests, budget, the last report, and layers by architecture."""

    requests: list[list[str]]
    budget: int
    report: list[KeptLayer]
    architectures: dict[str, dict[str, LayerRecord]]


class _File(Record):
    packs: list[str]
    columns: list[list[Any]]


class Column(NamedTuple):
    """Blocks that lie together: the layer's name, the form, and the kind of the layer's output."""

    layer: str
    form: str
    kind: Kind


@dataclass(frozen=True)
class Entry:
    """A block that is kept.

    Attributes:
        pack: Its file.
        offset: Where in the file its frame begins.
        size: Bytes of the frame.
        rows: Rows of the block.
        column: Its layer and form.
        digest: Hash over the frame.
    """

    pack: str
    offset: int
    size: int
    rows: int
    column: Column
    digest: bytes


@dataclass
class Catalogue:
    """The folder of kept activations. Any number of processes may read while one writes.

    Attributes:
        folder: The folder; it comes to exist with the first write.
        entries: Address of a block to where it lies.
        record: Kept with them.
    """

    folder: Path
    entries: dict[bytes, Entry] = field(default_factory=dict)
    record: Record = field(default_factory=Record)
    _pending: dict[Column, dict[bytes, tuple[bytes, int]]] = field(default_factory=dict)
    _waiting: int = 0

    @classmethod
    def load(cls, folder: Path) -> Catalogue:
        """Read a folder's catalogue; one that is not there is empty.

        Raises:
            CorruptError: It is damaged.
        """
        path = folder / _FILE
        if not path.exists():
            return cls(folder)
        tensors, _ = load_state(path)
        try:
            content = parse_json(tensors["record"].tobytes(), path, _File)
            packs = content["packs"]
            kinds = [
                Column(layer, form, Kind(tuple(shape), dtype))
                for layer, form, shape, dtype in content["columns"]
            ]
            rows = zip(
                tensors["addresses"], tensors["digests"], tensors["places"].tolist(), strict=True
            )
            entries = {
                address.tobytes(): Entry(
                    packs[pack], offset, size, count, kinds[column], digest.tobytes()
                )
                for address, digest, (pack, offset, size, count, column) in rows
            }
        except (KeyError, ValueError, IndexError, TypeError) as error:
            raise CorruptError(f"{path}: no catalogue of activations ({error!r})") from None
        own = {n: each for n, each in content.items() if n not in ("packs", "columns")}
        return cls(folder, entries, cast("Record", own))

    def lock(self) -> AbstractContextManager[None]:
        """Only one writer is in this block at a time."""
        return Folder(self.folder).lock()

    def read(self, address: bytes, what: str) -> NDArray[Any] | None:
        """Values of a block that is kept; None if a writer has dropped it meanwhile.

        Args:
            address: Its address.
            what: Layer and rows, for an error.

        Raises:
            CorruptError: They are damaged.
        """
        entry = self.entries[address]
        if not (self.folder / entry.pack).exists():
            self.entries = Catalogue.load(self.folder).entries
            if address not in self.entries:
                return None
            entry = self.entries[address]
        try:
            content = self._frame(entry)
            return unframed(entry.column.form, content, entry.rows, entry.column.kind)
        except (FileNotFoundError, ValueError) as error:
            reason = "the file is missing" if isinstance(error, OSError) else str(error)
            raise CorruptError(
                f"{self.folder / entry.pack}: {what}: {reason}; remove {self.folder} and keep "
                f"them again"
            ) from None

    def _frame(self, entry: Entry) -> bytes:
        backend = Folder(self.folder)
        content = backend.read(entry.pack, entry.offset, entry.offset + entry.size)
        if len(content) != entry.size or _digest(content) != entry.digest:
            raise ValueError("the block is damaged")
        return content

    @property
    def size(self) -> int:
        """Bytes of all files that hold blocks."""
        return sum(path.stat().st_size for path in self.folder.glob(_PACK))

    def sizes(self) -> dict[bytes, int]:
        """Bytes of each block, those that wait for :meth:`commit` included."""
        waiting = (blocks.items() for blocks in self._pending.values())
        there = {address: entry.size for address, entry in self.entries.items()}
        return there | {address: len(c) for each in waiting for address, (c, _) in each}

    def add(self, address: bytes, column: Column, values: NDArray[Any], room: int) -> int:
        """Add a block; it counts after :meth:`commit`.

        Args:
            address: Its address.
            column: Its layer and form.
            values: ``(rows, …)``, as the layer gave them.
            room: Bytes that it may take.

        Returns:
            Bytes that it takes; 0 where there is no room, and then it is not taken in.

        Raises:
            DataError: A value is not finite and the form has no place for it.
        """
        content = frame(column.form, values)
        if len(content) > room:
            return 0
        self._put(address, column, content, len(values))
        return len(content)

    def _put(self, address: bytes, column: Column, content: bytes, rows: int) -> None:
        self._pending.setdefault(column, {})[address] = (content, rows)
        self._waiting += len(content)
        if self._waiting >= _PACK_BYTES:
            self._write()

    def _write(self) -> None:
        """Write added blocks as a pack. Equal frames are written once."""
        packed = [(c, b, _frames(b)) for c, b in sorted(self._pending.items())]
        self._pending, self._waiting = {}, 0
        if not packed:
            return
        listed = [[_about(column), [d.hex() for d in frames]] for column, _, frames in packed]
        name = f"pack-{json_hash(listed)[:32]}.zarr.zip"
        with Folder(self.folder).write(name) as file, ZarrFile(file) as group:
            for number, (column, blocks, frames) in enumerate(packed):
                about = _about(column) | {"frames": len(frames)}
                start = group.add(str(number), list(frames.values()), about)
                sizes = [len(content) for content in frames.values()]
                offsets = dict(zip(frames, start + np.cumsum([0, *sizes])[:-1], strict=True))
                for address, (content, rows) in blocks.items():
                    digest = _digest(content)
                    place = (name, int(offsets[digest]), len(content))
                    self.entries[address] = Entry(*place, rows, column, digest)

    def commit(self, keep: Container[bytes]) -> None:
        """Write packs and catalogue without blocks that are not kept, then remove old files.

        Args:
            keep: Addresses of blocks that stay beside those that were added.
        """
        stale = {entry.pack for address, entry in self.entries.items() if address not in keep}
        stale |= self._small()
        for address, entry in list(self.entries.items()):
            if address not in keep:
                del self.entries[address]
            elif entry.pack in stale:
                try:
                    content = self._frame(entry)
                except (FileNotFoundError, ValueError):
                    say(f"{self.folder / entry.pack}: a block is damaged, and dropped")
                    del self.entries[address]
                    continue
                self._put(address, entry.column, content, entry.rows)
        self._write()
        self._save()
        named = {entry.pack for entry in self.entries.values()}
        for path in self.folder.glob(_PACK):
            if path.name not in named:
                path.unlink(missing_ok=True)

    def _small(self) -> set[str]:
        """Packs that are written again together with others, so that there are few."""
        used: Counter[str] = Counter()
        for entry in self.entries.values():
            used[entry.pack] += entry.size
        small = {pack for pack, size in used.items() if size < _PACK_BYTES // 2}
        return small if len(small) + bool(self._pending) > 1 else set()

    def _save(self) -> None:
        packs = {name: n for n, name in enumerate(sorted({e.pack for e in self.entries.values()}))}
        used = sorted({entry.column for entry in self.entries.values()})
        kinds = {column: number for number, column in enumerate(used)}
        listed = sorted(self.entries.items())
        columns = [[c.layer, c.form, list(c.kind.shape), c.kind.dtype] for c in kinds]
        places = [[packs[e.pack], e.offset, e.size, e.rows, kinds[e.column]] for _, e in listed]
        record = {**self.record, "packs": list(packs), "columns": columns}
        tensors: dict[str, NDArray[Any]] = {
            "addresses": _bytes(address for address, _ in listed),
            "digests": _bytes(entry.digest for _, entry in listed),
            "places": np.array(places, np.int64).reshape(len(listed), 5),
            "record": np.frombuffer(canonical_json(record).encode(), np.uint8),
        }
        save_state(self.folder / _FILE, tensors, {"version": 1})


def _frames(blocks: Mapping[bytes, tuple[bytes, int]]) -> dict[bytes, bytes]:
    """Different frames of a column's blocks, by their digests."""
    return {_digest(content): content for content, _ in blocks.values()}


def _about(column: Column) -> dict[str, object]:
    """A column as a pack names it."""
    shape = column.kind.in_form(column.form).shape
    named = {"layer": column.layer, "form": column.form}
    return named | {"dtype": column.kind.dtype, "shape": list(shape)}


def overhead(columns: int, budget: int) -> int:
    """Bytes, at most, that files of a budget take beside the frames in so many columns."""
    return _OVERHEAD * (columns + 1) * (1 + budget // (_PACK_BYTES // 2))


def address_of(function: str, rows: bytes, form: str) -> bytes:
    """Address of a function's values for a block of rows, in a form."""
    return _digest(b"\0".join([function.encode(), form.encode(), rows]))


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:ADDRESS_BYTES]


def _bytes(values: Iterable[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(values), np.uint8).reshape(-1, ADDRESS_BYTES)
