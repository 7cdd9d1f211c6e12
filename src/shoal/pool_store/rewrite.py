"""Every model of a store encoded anew, against other references than it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.errors import ModelError
from shoal.pool_store.collect import collect
from shoal.pool_store.index import Index
from shoal.pool_store.index_format import Contents, write_index_file, write_root
from shoal.pool_store.order import in_order
from shoal.pool_store.reading import Reader
from shoal.pool_store.saving import Given, Writer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shoal.pool_store.backends import Backend
    from shoal.pool_store.columns import Speed
    from shoal.pool_store.index_format import Entry

_CHECKED_AT_ONCE = 4096


def rewrite(
    backend: Backend,
    index: Index,
    references: Mapping[str, Sequence[str]],
    speed: Speed,
    even_if_larger: bool,
) -> int:
    """Write the models of a store to new packs; the caller holds its lock.

    Until the root is replaced at the end the store is as it was.

    Returns:
        Bytes saved.

    Raises:
        ModelError: Models refer to each other, or to one that is not there.
        CorruptError: Something does not read, before or afterwards.
    """
    entries = index.all_entries()
    for model, others in references.items():
        unknown = [other for other in (model, *others) if other not in entries]
        if unknown:
            raise ModelError(f"{backend.place}: no model {unknown[0]!r} to be rewritten")
    before = sum(backend.sizes().values())
    contents, root = Contents(), index.root
    for part in in_order(_sizes(index, entries), references):
        own = {model: entries[model] for model in part}
        written = Reader(backend, Index(backend, root)) if contents.entries else None
        writer = Writer(backend, contents, written, speed)
        writer.add(_given(backend, index, own), references, {m: e.record for m, e in own.items()})
        root = write_index_file(backend, contents)
    new = Index(backend, root)
    if even_if_larger or _bytes(new) < _bytes(index):
        for start in range(0, new.tensors, _CHECKED_AT_ONCE):
            stop = min(start + _CHECKED_AT_ONCE, new.tensors)
            Reader(backend, new).read(range(start, stop))
        write_root(backend, root)
        index = new
    collect(backend, index)
    return before - sum(backend.sizes().values())


def _sizes(index: Index, entries: Mapping[str, Entry]) -> dict[str, int]:
    plain = [sum(kind.bytes for _, kind in layout) for layout in index.layouts]
    return {model: plain[entry.layout] for model, entry in entries.items()}


def _given(backend: Backend, index: Index, entries: Mapping[str, Entry]) -> dict[str, Given]:
    """Models as they were given to be saved."""
    numbers: Iterable[int] = (number for entry in entries.values() for number in entry.rows)
    raw = Reader(backend, index).read(numbers)
    return {
        model: Given(
            index.layouts[entry.layout],
            [raw[number] for number in entry.rows],
            [index.row(number)["address"].tobytes() for number in entry.rows],
        )
        for model, entry in entries.items()
    }


def _bytes(index: Index) -> int:
    """Bytes of frames and of what decodes them."""
    return sum(pack.bytes for pack in index.packs)
