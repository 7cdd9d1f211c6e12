"""Care of a store: garbage collection, checks, and the bytes that models take.

Collecting drops tensors that no model needs and joins small packs; frames are copied as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shoal.errors import CorruptError
from shoal.model_store.codecs import NONE
from shoal.model_store.index import MissingFileError, StoreIndex, read_part, read_root
from shoal.model_store.index_format import (
    FILE_NAMES,
    ROOT,
    Contents,
    ModelEntry,
    write_index_file,
    write_root,
)
from shoal.model_store.packs import Piece, add_pack
from shoal.model_store.reading import Reader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from shoal.model_store.backends import Backend
    from shoal.model_store.store import ModelStore

_SMALL = 1 << 28  # bytes of a pack that is joined with others
_PACK_BYTES = 1 << 30
_AT_ONCE = 1024  # tensors
_ASIDE = re.compile(rf"\.\d+-({FILE_NAMES.pattern}|{re.escape(ROOT)})")


def collect(backend: Backend, index: StoreIndex) -> int:
    """Rewrite a store without tensors that no model needs; the caller holds its lock.

    Returns:
        Bytes freed.

    Raises:
        CorruptError: A tensor that was copied does not read; the store stays as it was.
    """
    before = sum(backend.sizes().values())
    contents = index.contents()
    alive = needed(contents)
    moved: list[int] = []
    for batch in _batches(contents, alive):
        moved += _join(backend, contents, alive, batch)
    if moved or not alive.all():
        numbers = _renumber(contents, alive)
        root = write_index_file(backend, contents)
        firsts, index = contents.frames["first"][numbers[moved]].tolist(), StoreIndex(backend, root)
        for start in range(0, len(firsts), _AT_ONCE):  # read back what was copied
            Reader(backend, index).read(firsts[start : start + _AT_ONCE])
        write_root(backend, root)
    names = list(backend.sizes())
    for name in [*_unnamed(index, names), *filter(_ASIDE.fullmatch, names)]:
        backend.delete(name)
    return before - sum(backend.sizes().values())


def needed(contents: Contents) -> NDArray[np.bool_]:
    """Frames with tensors of models, and what these refer to."""
    owner = np.repeat(np.arange(len(contents.frames)), _tensors_a_frame(contents))
    alive = np.zeros(len(contents.frames), bool)
    for entry in contents.entries.values():
        alive[owner[list(entry.rows)]] = True
    reached = -1
    while reached != (reached := int(alive.sum())):
        references = contents.tensors["reference"][alive[owner]]
        alive[owner[references[references != NONE]]] = True
    return alive


def _tensors_a_frame(contents: Contents) -> NDArray[np.int64]:
    stops = np.append(contents.frames["first"][1:].astype(np.int64), len(contents.tensors))
    counts: NDArray[np.int64] = stops[: len(contents.frames)] - contents.frames["first"]
    return counts


def _batches(contents: Contents, alive: NDArray[np.bool_]) -> list[list[int]]:
    """Packs to be written together: those with something dead, and small ones if several."""
    dead = set(np.unique(contents.frames["pack"][~alive]).tolist())
    small = {n for n, pack in enumerate(contents.packs) if pack.bytes < _SMALL}
    moving = sorted(dead | (small if len(small | dead) > 1 else set()))
    batches: list[list[int]] = []
    size = _PACK_BYTES
    for number in moving:
        if size >= _PACK_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(number)
        size += contents.packs[number].bytes
    return batches


def _join(
    backend: Backend, contents: Contents, alive: NDArray[np.bool_], packs: list[int]
) -> list[int]:
    """Write the live frames of some packs to one; the numbers of the frames in it."""
    rows = contents.frames
    copied: list[tuple[Piece, list[int]]] = []
    live = np.flatnonzero(alive & np.isin(rows["pack"], packs))
    order = live[np.lexsort((rows["offset"][live], rows["form"][live], rows["pack"][live]))]
    keys = np.stack([rows["pack"], rows["form"]])[:, order]
    breaks = np.flatnonzero((keys[:, 1:] != keys[:, :-1]).any(axis=0)) + 1
    for group in np.split(order, breaks):
        if len(group):
            _copy(backend, contents, group.tolist(), copied)
    if not copied:
        return []
    pieces = [piece for piece, _ in copied]
    firsts = np.concatenate([rows["first"][numbers] for _, numbers in copied])
    addresses = contents.tensors["address"][firsts].tobytes()
    written = add_pack(backend, contents, pieces, addresses)
    for form, ((_, numbers), offsets) in enumerate(zip(copied, written, strict=True)):
        rows["offset"][numbers], rows["form"][numbers] = offsets, form
        rows["pack"][numbers] = len(contents.packs) - 1
    return [number for _, numbers in copied for number in numbers]


def _copy(
    backend: Backend,
    contents: Contents,
    group: list[int],
    copied: list[tuple[Piece, list[int]]],
) -> None:
    """Add frames of one form to those of the same form, if there is one already."""
    row = contents.frames[group[0]]
    pack = contents.packs[row["pack"]]
    form = pack.forms[row["form"]]
    frames = [
        read_part(backend, pack.name, int(offset), int(size))
        for offset, size in contents.frames[["offset", "size"]][group].tolist()
    ]
    if isinstance(form.keys, slice):
        start, stop = form.keys.start, form.keys.stop
        keys = read_part(backend, pack.name, start, stop - start)
        copied.append((Piece(form, frames, keys), group))
        return
    same = next((each for each in copied if each[0].form == form), None)
    if same is None:
        copied.append((Piece(form, frames), group))
    else:
        same[0].frames += frames
        same[1].extend(group)


def _renumber(contents: Contents, alive: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Drop dead frames and packs without any; frames' new numbers by old."""
    frames, tensors = contents.frames, contents.tensors
    kept = np.repeat(alive, _tensors_a_frame(contents))
    numbers = np.cumsum(kept) - 1
    tensors = tensors[kept]
    refers = tensors["reference"] != NONE
    tensors["reference"][refers] = numbers[tensors["reference"][refers]]
    frames = frames[alive]
    frames["first"] = numbers[frames["first"]]
    used, pack = np.unique(frames["pack"], return_inverse=True)
    frames["pack"] = pack
    contents.frames, contents.tensors = frames, tensors
    contents.packs = [contents.packs[number] for number in used.tolist()]
    for model, entry in contents.entries.items():
        new = tuple(numbers[list(entry.rows)].tolist())
        contents.entries[model] = ModelEntry(model, entry.layout, new, entry.record)
    return np.cumsum(alive) - 1


def problems(backend: Backend) -> list[str]:
    """A line per damage."""
    try:
        root = read_root(backend)
        if root is None:
            return []
        index = StoreIndex(backend, root)
        index.contents()
    except CorruptError as error:
        return [str(error)]
    except MissingFileError as error:
        return [f"{backend.place}/{error}: missing"]
    return _pack_problems(backend, index) + _tensor_problems(backend, index)


def _pack_problems(backend: Backend, index: StoreIndex) -> list[str]:
    sizes = backend.sizes()
    return [
        f"{backend.place}/{pack.name}: {sizes[pack.name]} bytes, {pack.bytes} expected"
        for pack in index.packs
        if sizes.get(pack.name, pack.bytes) != pack.bytes
    ]


def _tensor_problems(backend: Backend, index: StoreIndex) -> list[str]:
    """A line for each damaged frame, and for each missing pack."""
    found: dict[str, None] = {}
    tensors = index.contents().frames["first"].tolist()
    for start in range(0, len(tensors), _AT_ONCE):
        numbers = tensors[start : start + _AT_ONCE]
        if _problem(backend, index, numbers) is not None:
            # Frame by frame, so that each is named.
            for number in numbers:
                if (problem := _problem(backend, index, [number])) is not None:
                    found[problem] = None
    return list(found)


def _problem(backend: Backend, index: StoreIndex, numbers: list[int]) -> str | None:
    try:
        Reader(backend, index).read(numbers)
    except CorruptError as error:
        return str(error)
    except MissingFileError as error:
        return f"{backend.place}/{error}: missing"
    return None


@dataclass(frozen=True)
class Usage:
    """Bytes of one model.

    Attributes:
        plain: Bytes of its tensors.
        stored: Bytes of their frames, also of those that others share, references aside.
        steps: References that are followed to read it, at most.
    """

    plain: int
    stored: int
    steps: int


def usage(store: ModelStore, model: str) -> Usage:
    """Bytes of a model, by the index alone.

    Raises:
        ModelError: There is no such model.
    """
    plain = sum(kind.bytes for kind in store.layout(model).values())
    index = _index(store)
    entry = index.find(model) if index else None
    if index is None or entry is None:
        return Usage(plain, 0, 0)
    frames = index.frame_of(np.array(entry.rows, np.int64))
    rows = index.frame_rows(np.unique(frames))
    return Usage(plain, int(rows["size"].sum()), int(rows["depth"].max(initial=0)))


def collectable(store: ModelStore, models: Iterable[str] = ()) -> int:
    """Bytes that collecting garbage would free if these models were removed.

    Files that killed writers left unfinished are not counted.
    """
    index, gone = _index(store), set(models)
    if index is None:
        return 0
    contents = index.contents()
    contents.entries = {m: entry for m, entry in contents.entries.items() if m not in gone}
    sizes = store.backend.sizes()
    unnamed = sum(sizes[name] for name in _unnamed(index, sizes))
    return unnamed + int(contents.frames["size"][~needed(contents)].sum())


def freed_by(store: ModelStore, models: Iterable[str]) -> int:
    """Bytes of :func:`collectable` that are due to these models."""
    return collectable(store, models) - collectable(store)


def _unnamed(index: StoreIndex, names: Iterable[str]) -> list[str]:
    """Files of the store that no state of it names any more."""
    kept = {index.file, *(pack.name for pack in index.packs)}
    return [name for name in names if FILE_NAMES.fullmatch(name) and name not in kept]


def _index(store: ModelStore) -> StoreIndex | None:
    root = read_root(store.backend)
    return None if root is None else StoreIndex(store.backend, root)
