"""The index: which tensors a model has, and where each lies. Read a page at a time, each hashed.

``pool.json`` names the index file and the hash of its header; the header holds the hash of each
page. So one model is found by reading the header and few pages, and every byte that is used has
been checked. An index file never changes: a commit writes another and then replaces ``pool.json``.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import CorruptError
from shoal.formats.hashing import json_hash
from shoal.model_store.codecs import LONGEST_CHAIN, NONE, RAW
from shoal.model_store.frames import LARGEST_RATIO, FrameError, decompressed
from shoal.model_store.index_format import (
    FILE_NAMES,
    FORMAT,
    FRAME,
    FRAMES_A_PAGE,
    LARGEST_PAGE,
    LARGEST_ROOT,
    PAGE,
    ROOT,
    TENSOR,
    Contents,
    Form,
    ModelEntry,
    kind_of,
    model_key,
    pack_place,
    unshuffled,
)
from shoal.model_store.tensors import HASH_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from shoal.model_store.backends import Backend
    from shoal.model_store.index_format import Layout, Rows
    from shoal.model_store.tensors import JsonObject

    Numbers = NDArray[np.int64]

_LARGEST = 1 << 61  # what is beyond is as wrong, and its sums would overflow


class MissingFileError(FileNotFoundError):
    """A file that the index names is not there."""


class StoreIndex:
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
            start, size, full, digest = record["header"]
            header = int(start), int(size), int(full), bytes.fromhex(digest)
            sound = seal == json_hash(record) and bool(FILE_NAMES.fullmatch(self.file))
        except Exception as error:  # whatever a forged file leads to
            raise self._corrupt(ROOT, f"not the root of a model store ({_brief(error)})") from None
        if not sound:
            raise self._corrupt(ROOT, "damaged: it does not match its own hash")
        if form != FORMAT:
            raise self._corrupt(ROOT, f"of format {form!r}, and this Shoal reads {FORMAT}")
        plain = self._page(header, "header")
        try:
            text, _, tables = plain.partition(b"\n")
            self._parse(json.loads(text), np.frombuffer(tables, PAGE))
        except Exception as error:  # the same
            raise self._corrupt(self.file, f"header not readable ({_brief(error)})") from None

    @classmethod
    def empty(cls, backend: Backend) -> StoreIndex:
        """The state of a store before anything was saved."""
        index = cls.__new__(cls)
        index._backend, index.root, index._cache, index.file = backend, b"", {}, ROOT
        header = {"layouts": [], "packs": [], "pages": 0, "counts": [0, 0, 0]}
        index._parse(header, np.empty(0, PAGE))
        return index

    def _corrupt(self, file: str, what: str) -> CorruptError:
        return CorruptError(f"{self._backend.place}/{file}: {what}")

    def _parse(self, header: JsonObject, pages: Rows) -> None:
        self.layouts: list[Layout] = [
            tuple((str(name), kind_of(dtype, shape)) for name, dtype, shape in layout)
            for layout in header["layouts"]
        ]
        self.packs = [pack_place(*pack) for pack in header["packs"]]
        self.forms = [form for pack in self.packs for form in pack.forms]
        self._first_forms = np.cumsum([0] + [len(pack.forms) for pack in self.packs])
        self._slots = np.array([len(form.kinds) for form in self.forms] + [0])
        self._counts = np.array([len(pack.forms) for pack in self.packs] + [0])
        self._ends = np.array([min(pack.bytes, _LARGEST) for pack in self.packs] + [0])
        self._sizes = np.array([min(form.bytes, _LARGEST) for form in self.forms] + [0])
        self._is_raw = np.array([form.codec == RAW for form in self.forms] + [False])
        self._models, self._pages = pages[: header["pages"]], pages[header["pages"] :]
        self.count, self.frames, self.tensors = (int(count) for count in header["counts"])
        self._firsts = np.append(self._pages["first"].astype(np.int64), self.tensors)
        if (
            -(-self.frames // FRAMES_A_PAGE) != len(self._pages)
            or (np.diff(self._firsts) < 1).any()
        ):
            raise ValueError("pages missing")

    def _page(self, page: tuple[int, int, int, bytes], what: str) -> bytes:
        """A page's bytes, checked; never more than it may stand for."""
        start, size, plain, digest = page
        if not 0 <= plain <= max(LARGEST_PAGE, LARGEST_RATIO * size):
            raise self._corrupt(self.file, f"{what} claims {plain} bytes")
        stored = read_part(self._backend, self.file, start, size)
        if hashlib.sha256(stored).digest()[:HASH_BYTES] != digest:
            raise self._corrupt(self.file, f"{what} is damaged or stale: it has another hash")
        try:
            return decompressed(0, stored, plain)
        except FrameError as error:
            raise self._corrupt(self.file, f"{what} is {error}") from None

    def _entries(self, number: int) -> dict[str, ModelEntry]:
        if (cached := self._cache.get(-1 - number)) is not None:
            found: dict[str, ModelEntry] = cached
            return found
        plain = self._page(_place(self._models[number]), f"page {number} of models")
        try:
            entries = [self._entry(*item) for item in json.loads(plain)]
        except Exception as error:  # whatever a forged page leads to
            what = f"page {number} of models is not readable ({_brief(error)})"
            raise self._corrupt(self.file, what) from None
        self._cache[-1 - number] = found = {entry.model: entry for entry in entries}
        return found

    def _entry(self, model: str, layout: int, rows: Any, record: JsonObject) -> ModelEntry:  # noqa: ANN401
        size = len(self.layouts[layout])
        numbers = tuple(range(rows, rows + size)) if isinstance(rows, int) else tuple(rows)
        if len(numbers) != size or not all(
            type(number) is int and 0 <= number < self.tensors for number in numbers
        ):
            raise ValueError(f"tensors of {model!r}")
        return ModelEntry(str(model), layout, numbers, dict(record))

    def find(self, model: str) -> ModelEntry | None:
        """A model's entry, if it is in the store."""
        key = np.uint64(model_key(model))
        place = int(np.searchsorted(self._models["first"], key, side="right"))
        return self._entries(place - 1).get(model) if place else None

    def all_entries(self) -> dict[str, ModelEntry]:
        """Every model's entry."""
        found: dict[str, ModelEntry] = {}
        for number in range(len(self._models)):
            found.update(self._entries(number))
        return found

    def frame_of(self, tensors: Numbers) -> Numbers:
        """Numbers of the frames in which tensors lie."""
        found = np.empty(len(tensors), np.int64)
        pages = np.searchsorted(self._firsts, tensors, side="right") - 1
        for page, chosen in _groups(pages):
            firsts = self._frames(page)[0]["first"]
            places = np.searchsorted(firsts, tensors[chosen], side="right") - 1
            found[chosen] = page * FRAMES_A_PAGE + places
        return found

    def frame_rows(self, numbers: Numbers) -> Rows:
        """Frames by their numbers, checked as far as they can be by themselves."""
        pages, places = np.divmod(numbers, FRAMES_A_PAGE)
        found = np.empty(len(numbers), FRAME)
        for page, chosen in _groups(pages):
            found[chosen] = self._frames(page)[0][places[chosen]]
        return found

    def tensor_rows(self, numbers: Numbers) -> Rows:
        """Tensors by their numbers."""
        pages = np.searchsorted(self._firsts, numbers, side="right") - 1
        found = np.empty(len(numbers), TENSOR)
        for page, chosen in _groups(pages):
            found[chosen] = self._frames(page)[1][numbers[chosen] - self._firsts[page]]
        return found

    def _frames(self, number: int) -> tuple[Rows, Rows]:
        """A page of frames, and their tensors."""
        if (cached := self._cache.get(number)) is not None:
            known: tuple[Rows, Rows] = cached
            return known
        plain = self._page(_place(self._pages[number]), what := f"page {number} of frames")
        count = min(FRAMES_A_PAGE, self.frames - number * FRAMES_A_PAGE)
        first, stop = self._firsts[number : number + 2].tolist()
        middle = count * FRAME.itemsize
        if len(plain) != middle + (stop - first) * TENSOR.itemsize:
            raise self._corrupt(self.file, f"{what} is of another size")
        content = np.frombuffer(plain, np.uint8)
        frames = unshuffled(content[:middle], FRAME)
        tensors = unshuffled(content[middle:], TENSOR).copy()
        back = tensors["reference"].astype(np.int32)
        referred = np.arange(first, stop) - back
        sound = self._sound(frames, stop)
        if not sound.all() or ((referred < 0) | (referred >= self.tensors)).any():
            wrong = number * FRAMES_A_PAGE + int(np.argmin(sound))
            raise self._corrupt(self.file, f"frame {wrong} or what it refers to is none")
        tensors["reference"] = np.where(back, referred, NONE)
        self._cache[number] = frames, tensors
        return frames, tensors

    def _sound(self, frames: Rows, stop: int) -> NDArray[np.bool_]:
        """Whether a store could have written each frame; others would be wrong, or unbounded."""
        pack = np.minimum(frames["pack"], len(self.packs))
        sound: NDArray[np.bool_] = frames["form"] < self._counts[pack]
        form = np.where(sound, self._first_forms[pack] + frames["form"], len(self.forms))
        stands_for = self._sizes[form]
        offset, size = (
            np.minimum(frames[f], _LARGEST).astype(np.int64) for f in ("offset", "size")
        )
        slots = np.diff(frames["first"].astype(np.int64), append=stop)
        sound &= (offset + size <= self._ends[pack]) & (stands_for // LARGEST_RATIO <= size)
        sound &= ~self._is_raw[form] | (size == stands_for)
        sound &= (slots == self._slots[form]) & (frames["depth"] <= LONGEST_CHAIN)
        return sound

    def form_numbers(self, frames: Rows) -> Numbers:
        """Place in ``forms`` of each frame's form."""
        places: Numbers = self._first_forms[frames["pack"]] + frames["form"]
        return places

    def form(self, frame: Any) -> Form:  # noqa: ANN401 - a record of numpy
        """A frame's form."""
        form: Form = self.packs[frame["pack"]].forms[frame["form"]]
        return form

    def contents(self) -> Contents:
        """All of it, to be changed."""
        pages = [self._frames(number) for number in range(len(self._pages))]
        frames = np.concatenate([np.empty(0, FRAME), *(page[0] for page in pages)])
        tensors = np.concatenate([np.empty(0, TENSOR), *(page[1] for page in pages)])
        return Contents(list(self.layouts), list(self.packs), self.all_entries(), frames, tensors)


def _place(page: Any) -> tuple[int, int, int, bytes]:  # noqa: ANN401 - a record of numpy
    """Where a page lies, its sizes, and its hash."""
    return int(page["start"]), int(page["size"]), int(page["plain"]), page["hash"].tobytes()


def _groups(pages: Numbers) -> Iterator[tuple[int, Numbers]]:
    """Places at which each page occurs."""
    if len(pages) and (pages == pages[0]).all():  # as of one model, mostly
        yield int(pages[0]), np.arange(len(pages))
        return
    order = np.argsort(pages, kind="stable")
    for chosen in np.split(order, np.flatnonzero(np.diff(pages[order])) + 1):
        if len(chosen):
            yield int(pages[chosen[0]]), chosen


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
                f"{backend.place}/{ROOT}: missing, and there are other files of a model store"
            ) from None
        return None
    if len(root) > LARGEST_ROOT:
        raise CorruptError(f"{backend.place}/{ROOT}: longer than the root of a model store")
    return root
