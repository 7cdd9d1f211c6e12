"""The index: which tensors a model has, and where each lies. Read a page at a time, each hashed.

``pool.json`` names the index file and the hash of its header; the header holds the hash of each
page. So one model is found by reading the header and few pages, and every byte that is used has
been checked. An index file never changes: a commit writes another and then replaces ``pool.json``.
"""

from __future__ import annotations

import bisect
import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import CorruptError
from shoal.hashing import json_hash
from shoal.pool_store.columns import LONGEST_CHAIN, NONE
from shoal.pool_store.frames import LARGEST_RATIO
from shoal.pool_store.index_format import (
    FILE_NAMES,
    FORMAT,
    LARGEST_PAGE,
    LARGEST_ROOT,
    ROOT,
    ROW,
    TENSORS_A_PAGE,
    Contents,
    Entry,
    Page,
    kind_of,
    model_key,
    pack_place,
)
from shoal.pool_store.residuals import CODECS, RAW, XOR

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shoal.pool_store.backends import Backend
    from shoal.pool_store.index_format import Layout, Rows

_SPAN = ("offset", "size")


class MissingFileError(FileNotFoundError):
    """A file that the index names is not there."""


class Index:
    """One state of a store, read from its backend as it is asked for."""

    def __init__(self, backend: Backend, root: bytes) -> None:
        """Read the header.

        Args:
            backend: The store's files.
            root: Content of ``pool.json``.

        Raises:
            CorruptError: Root or header is not what a store writes, or is damaged.
            FileNotFoundError: The index file is missing.
        """
        self._backend = backend
        self.root = root
        self._cache: dict[int, Any] = {}
        try:
            record = json.loads(root)
            seal = record.pop("seal")
            form, self.file = record["format"], str(record["index"])
            header = Page("", *record["header"])
            sound = seal == json_hash(record) and bool(FILE_NAMES.fullmatch(self.file))
        except Exception as error:  # whatever a forged file leads to
            raise self._corrupt(ROOT, f"not the root of a pool store ({_brief(error)})") from None
        if not sound:
            raise self._corrupt(ROOT, "damaged: it does not match its own hash")
        if form != FORMAT:
            raise self._corrupt(ROOT, f"of format {form!r}, and this Shoal reads {FORMAT}")
        plain = self._page(header, "header")
        try:
            self._parse(json.loads(plain))
        except Exception as error:  # the same
            raise self._corrupt(self.file, f"header not readable ({_brief(error)})") from None

    @classmethod
    def empty(cls, backend: Backend) -> Index:
        """The state of a store before anything was saved."""
        index = cls.__new__(cls)
        index._backend, index.root, index._cache, index.file = backend, b"", {}, ROOT
        index._parse(
            {"layouts": [], "packs": [], "models": [], "tensors": [], "count": 0, "rows": 0}
        )
        return index

    def _corrupt(self, file: str, what: str) -> CorruptError:
        return CorruptError(f"{self._backend.place}/{file}: {what}")

    def _parse(self, header: dict[str, Any]) -> None:
        self.layouts: list[Layout] = [
            tuple((str(name), kind_of(dtype, shape)) for name, dtype, shape in layout)
            for layout in header["layouts"]
        ]
        self.packs = [pack_place(*pack) for pack in header["packs"]]
        self.columns = [column for pack in self.packs for column in pack.columns]
        self._firsts = np.cumsum([0] + [len(pack.columns) for pack in self.packs])
        self._models = [Page(*page) for page in header["models"]]
        self._first_keys = [page.first for page in self._models]
        self._tensors = [Page(*page) for page in header["tensors"]]
        self.count = int(header["count"])
        self.tensors = int(header["rows"])
        if -(-self.tensors // TENSORS_A_PAGE) != len(self._tensors):
            raise ValueError("pages missing")

    def _page(self, page: Page, what: str) -> bytes:
        """A page's bytes, checked; never more than it may stand for."""
        from numcodecs import zstd

        if not 0 <= page.plain <= max(LARGEST_PAGE, LARGEST_RATIO * page.size):
            raise self._corrupt(self.file, f"{what} claims {page.plain} bytes")
        stored = read_part(self._backend, self.file, page.start, page.size)
        if hashlib.sha256(stored).hexdigest()[:32] != page.hash:
            raise self._corrupt(self.file, f"{what} is damaged or stale: it has another hash")
        plain = bytearray(page.plain)
        try:
            zstd.decompress(stored, plain)
        except (RuntimeError, ValueError) as error:
            raise self._corrupt(self.file, f"{what} does not decompress ({error})") from None
        return bytes(plain)

    def _entries(self, number: int) -> dict[str, Entry]:
        if (cached := self._cache.get(-1 - number)) is not None:
            found: dict[str, Entry] = cached
            return found
        plain = self._page(self._models[number], f"page {number} of models")
        try:
            entries = [self._entry(*item) for item in json.loads(plain)]
        except Exception as error:  # whatever a forged page leads to
            what = f"page {number} of models is not readable ({_brief(error)})"
            raise self._corrupt(self.file, what) from None
        self._cache[-1 - number] = found = {entry.model: entry for entry in entries}
        return found

    def _entry(self, model: str, layout: int, rows: Any, record: dict[str, Any]) -> Entry:  # noqa: ANN401
        size = len(self.layouts[layout])
        numbers = tuple(range(rows, rows + size)) if isinstance(rows, int) else tuple(rows)
        if len(numbers) != size or not all(
            type(number) is int and 0 <= number < self.tensors for number in numbers
        ):
            raise ValueError(f"tensors of {model!r}")
        return Entry(str(model), layout, numbers, dict(record))

    def find(self, model: str) -> Entry | None:
        """A model's entry, if it is in the store."""
        place = bisect.bisect_right(self._first_keys, model_key(model))
        return self._entries(place - 1).get(model) if place else None

    def all_entries(self) -> dict[str, Entry]:
        """Every model's entry."""
        found: dict[str, Entry] = {}
        for number in range(len(self._models)):
            found.update(self._entries(number))
        return found

    def rows(self, numbers: NDArray[np.int64]) -> Rows:
        """The rows of tensors by their numbers, checked as far as rows can be by themselves."""
        pages, places = np.divmod(numbers, TENSORS_A_PAGE)
        found = np.empty(len(numbers), ROW)
        for page in np.unique(pages).tolist():
            here = pages == page
            found[here] = self._rows(page)[places[here]]
        wrong = ~self._sound(found)
        if wrong.any():
            number = numbers[wrong][0]
            raise self._corrupt(self.file, f"tensor {number} is described as none can be")
        return found

    def _rows(self, number: int) -> Rows:
        if (cached := self._cache.get(number)) is not None:
            known: Rows = cached
            return known
        count = min(TENSORS_A_PAGE, self.tensors - number * TENSORS_A_PAGE)
        plain = self._page(self._tensors[number], f"page {number} of tensors")
        if len(plain) != count * ROW.itemsize:
            raise self._corrupt(self.file, f"page {number} of tensors is of another size")
        columns = np.frombuffer(plain, np.uint8).reshape(ROW.itemsize, count)
        rows: Rows = np.ascontiguousarray(columns.T).reshape(-1).view(ROW)
        self._cache[number] = rows
        return rows

    def all_rows(self) -> Rows:
        """Every tensor's row."""
        pages = [self._rows(number) for number in range(len(self._tensors))]
        return np.concatenate(pages) if pages else np.empty(0, ROW)

    def row(self, number: int) -> Any:  # noqa: ANN401 - a record of numpy
        """One tensor's row."""
        return self.rows(np.array([number]))[0]

    def _sound(self, rows: Rows) -> NDArray[np.bool_]:
        """Which rows a store could have written: others would be wrong, or ask without bound."""
        pack = np.minimum(rows["pack"], len(self.packs))
        counts = np.array([len(place.columns) for place in self.packs] + [0])
        sound: NDArray[np.bool_] = rows["column"] < counts[pack]
        where = np.where(sound, self._firsts[pack] + rows["column"], len(self.columns))
        stands_for = np.array([min(c.kind.bytes, 1 << 62) for c in self.columns] + [0])[where]
        forms = np.array([len(column.cuts) for column in self.columns] + [0])[where]
        ends = np.array([place.bytes for place in self.packs] + [0])[pack]
        offset, size = (np.minimum(rows[name], 1 << 61).astype(np.int64) for name in _SPAN)
        raw, refers = rows["codec"] == RAW, rows["codec"] >= XOR
        sound &= (rows["codec"] < len(CODECS)) & (offset + size <= ends)
        sound &= np.where(raw, size == stands_for, rows["cut"] < forms)
        sound &= stands_for // LARGEST_RATIO <= size
        sound &= np.where(refers, rows["reference"] < self.tensors, rows["reference"] == NONE)
        sound &= (rows["depth"] <= LONGEST_CHAIN) & ((rows["depth"] > 0) == refers)
        return sound

    def column_numbers(self, rows: Rows) -> NDArray[np.int64]:
        """Place in ``columns`` of each row's column."""
        places: NDArray[np.int64] = self._firsts[rows["pack"]] + rows["column"]
        return places

    def contents(self) -> Contents:
        """All of it, to be changed."""
        return Contents(
            list(self.layouts), list(self.packs), self.all_entries(), self.all_rows().copy()
        )


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:120].replace("\n", " ")


def read_part(backend: Backend, name: str, start: int, size: int) -> bytes:
    """A part of a file that the index names.

    Raises:
        MissingFileError: The file is not there: another writer may have replaced it.
        CorruptError: It ends before.
    """
    try:
        part = backend.read(name, start, start + size)
    except FileNotFoundError:
        raise MissingFileError(name) from None
    if len(part) != size:
        raise CorruptError(f"{backend.place}/{name}: truncated, it ends before {start + size}")
    return part


def read_root(backend: Backend) -> bytes | None:
    """Content of ``pool.json``; ``None`` where nothing was ever stored.

    Raises:
        CorruptError: It is missing beside other files, or of no sensible size.
    """
    try:
        root = backend.read(ROOT, 0, LARGEST_ROOT + 1)
    except FileNotFoundError:
        if any(FILE_NAMES.fullmatch(name) for name in backend.sizes()):
            raise CorruptError(
                f"{backend.place}/{ROOT}: missing, and there are other files of a pool store"
            ) from None
        return None
    if len(root) > LARGEST_ROOT:
        raise CorruptError(f"{backend.place}/{ROOT}: longer than the root of a pool store")
    return root
