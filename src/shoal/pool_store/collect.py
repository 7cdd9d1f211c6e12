"""Garbage collection: what no model needs goes, small packs are joined, frames are only copied."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.pool_store.columns import NONE
from shoal.pool_store.index import Index, read_part
from shoal.pool_store.index_format import (
    FILE_NAMES,
    ROOT,
    ColumnPlace,
    Contents,
    Entry,
    PackPlace,
    write_index_file,
    write_root,
)
from shoal.pool_store.pack import PackColumn, pack_name, write_pack
from shoal.pool_store.reading import Reader

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shoal.pool_store.backends import Backend
    from shoal.pool_store.tensors import Kind

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
        _check(backend, Index(backend, root), [int(numbers[n]) for n in moved])
        write_root(backend, root)
        index = Index(backend, root)
    kept = {index.file, *(pack.name for pack in index.packs)}
    for name in backend.sizes():
        if (FILE_NAMES.fullmatch(name) and name not in kept) or _ASIDE.fullmatch(name):
            backend.delete(name)
    return before - sum(backend.sizes().values())


def needed(contents: Contents) -> NDArray[np.bool_]:
    """Tensors of models, and what these refer to."""
    alive = np.zeros(len(contents.rows), bool)
    for entry in contents.entries.values():
        alive[list(entry.rows)] = True
    reached = -1
    while reached != (reached := int(alive.sum())):
        references = contents.rows["reference"][alive]
        alive[references[references != NONE]] = True
    return alive


def _batches(contents: Contents, alive: NDArray[np.bool_]) -> list[list[int]]:
    """Packs to be written together: those with something dead, and small ones if several."""
    dead = set(np.unique(contents.rows["pack"][~alive]).tolist())
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
    """Write the live frames of some packs to one; the numbers of the tensors in it."""
    rows = contents.rows
    groups: dict[tuple[str, Kind], list[int]] = {}
    live = np.flatnonzero(alive & np.isin(rows["pack"], packs))
    order = np.lexsort((rows["offset"][live], rows["pack"][live]))
    for number in live[order].tolist():
        place = _column(contents, rows[number])
        groups.setdefault((place.name, place.kind), []).append(number)
    if not groups:
        return []
    columns, cuts = [], []
    for (name, kind), numbers in groups.items():
        copied, forms = _copied(backend, contents, name, kind, numbers)
        columns.append(copied)
        cuts.append(forms)
    numbers = [number for group in groups.values() for number in group]
    pack = pack_name(columns, [rows["address"][number].tobytes() for number in numbers])
    with backend.write(pack) as file:
        written = write_pack(file, columns)
        size = file.seek(0, 2)
    for column, (group, where) in enumerate(zip(groups.values(), written, strict=True)):
        rows["offset"][group], rows["cut"][group] = where.offsets, cuts[column]
        rows["pack"][group], rows["column"][group] = len(contents.packs), column
    places = tuple(
        ColumnPlace(each.name, each.kind, tuple(where.cuts))
        for each, where in zip(columns, written, strict=True)
    )
    contents.packs.append(PackPlace(pack, size, places))
    return numbers


def _column(contents: Contents, row: Any) -> ColumnPlace:  # noqa: ANN401 - a record of numpy
    place: ColumnPlace = contents.packs[row["pack"]].columns[row["column"]]
    return place


def _copied(
    backend: Backend, contents: Contents, name: str, kind: Kind, numbers: list[int]
) -> tuple[PackColumn, list[int]]:
    """Frames of one parameter out of several packs, and which cut each has now."""
    known: dict[tuple[int, int, int], int] = {}
    cuts: list[int | tuple[bytes, int]] = []
    frames, places = [], []
    for number in numbers:
        row = contents.rows[number]
        pack = contents.packs[row["pack"]].name
        frames.append(read_part(backend, pack, int(row["offset"]), int(row["size"])))
        key = int(row["pack"]), int(row["column"]), int(row["cut"])
        stored = _column(contents, row).cuts
        if key not in known and key[2] < len(stored):
            known[key] = len(cuts)
            cut = stored[key[2]]
            cuts.append(
                cut if isinstance(cut, int) else (read_part(backend, pack, *cut[:2]), cut[2])
            )
        places.append(known.get(key, 0))
    return PackColumn(name, kind, frames, cuts), places


def _renumber(contents: Contents, alive: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Drop dead tensors and packs without any; new numbers by old."""
    numbers = np.cumsum(alive) - 1
    rows = contents.rows[alive]
    refers = rows["reference"] != NONE
    rows["reference"][refers] = numbers[rows["reference"][refers]]
    used, pack = np.unique(rows["pack"], return_inverse=True)
    rows["pack"] = pack
    contents.rows = rows
    contents.packs = [contents.packs[number] for number in used.tolist()]
    for model, entry in contents.entries.items():
        new = tuple(numbers[list(entry.rows)].tolist())
        contents.entries[model] = Entry(model, entry.layout, new, entry.record)
    return numbers


def _check(backend: Backend, index: Index, numbers: list[int]) -> None:
    """Read what was copied, from where it is now."""
    for start in range(0, len(numbers), _CHECKED_AT_ONCE):
        Reader(backend, index).read(numbers[start : start + _CHECKED_AT_ONCE])
