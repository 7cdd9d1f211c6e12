"""Checking a whole store: every page, pack and tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.errors import CorruptError
from shoal.model_store.index import Index, MissingFileError, read_root
from shoal.model_store.reading import Reader

if TYPE_CHECKING:
    from shoal.model_store.backends import Backend

_AT_ONCE = 1024


def problems(backend: Backend) -> list[str]:
    """Everything that is damaged, a line each."""
    try:
        root = read_root(backend)
        if root is None:
            return []
        index = Index(backend, root)
        index.contents()
    except CorruptError as error:
        return [str(error)]
    except MissingFileError as error:
        return [f"{backend.place}/{error}: missing"]
    return _pack_problems(backend, index) + _tensor_problems(backend, index)


def _pack_problems(backend: Backend, index: Index) -> list[str]:
    sizes = backend.sizes()
    return [
        f"{backend.place}/{pack.name}: {sizes[pack.name]} bytes, {pack.bytes} expected"
        for pack in index.packs
        if sizes.get(pack.name, pack.bytes) != pack.bytes
    ]


def _tensor_problems(backend: Backend, index: Index) -> list[str]:
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


def _problem(backend: Backend, index: Index, numbers: list[int]) -> str | None:
    try:
        Reader(backend, index).read(numbers)
    except CorruptError as error:
        return str(error)
    except MissingFileError as error:
        return f"{backend.place}/{error}: missing"
    return None
