"""Garbage collection: what no model needs goes, small packs are joined, frames are only copied."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from shoal.model_store.choices import NONE
from shoal.model_store.index import Index, read_part
from shoal.model_store.index_format import (
    FILE_NAMES,
    ROOT,
    Contents,
    Entry,
    write_index_file,
    write_root,
)
from shoal.model_store.pack import Piece, add_pack
from shoal.model_store.reading import Reader

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shoal.model_store.backends import Backend

_SMALL = 1 << 28  # bytes of a pack that is joined with others
_PACK_BYTES = 1 << 30
_CHECKED_AT_ONCE = 4096
_ASIDE = re.compile(rf"\.\d+-({FILE_NAMES.pattern}|{re.escape(ROOT)})")


def collect(backend: Backend, index: Index) -> int:
    """Rewrite a store without what no model needs; the caller holds its lock.

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
        firsts = contents.frames["first"][numbers[moved]]
        _check(backend, Index(backend, root), firsts.tolist())
        write_root(backend, root)
        index = Index(backend, root)
    kept = {index.file, *(pack.name for pack in index.packs)}
    for name in backend.sizes():
        if (FILE_NAMES.fullmatch(name) and name not in kept) or _ASIDE.fullmatch(name):
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
        contents.entries[model] = Entry(model, entry.layout, new, entry.record)
    return np.cumsum(alive) - 1


def _check(backend: Backend, index: Index, numbers: list[int]) -> None:
    """Read the frames of tensors that were copied, from where they are now."""
    for start in range(0, len(numbers), _CHECKED_AT_ONCE):
        Reader(backend, index).read(numbers[start : start + _CHECKED_AT_ONCE])
