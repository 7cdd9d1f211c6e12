"""Faults in a model store's files: found, harmless, or returned as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.pool_store_rivals import Model, Pool, equal
from shoal.errors import ShoalError
from shoal.model_store import ModelStore
from shoal.model_store.backends import Memory

if TYPE_CHECKING:
    from collections.abc import Callable

    Files = dict[str, bytes]

MODELS = 24


def survived(base: Model, pool: Pool, faults: int) -> list[dict[str, Any]]:
    """What becomes of faults of each kind, one at a time, in a store of some models.

    The store consists of two packs, one with models that refer to the other's.
    """
    models = dict(list(pool.items())[:MODELS])
    backend = Memory()
    ModelStore(backend).save({"base": base})
    ModelStore(backend).save(models, base="base")
    whole = dict(backend._files)  # faults are put below the store
    rng = np.random.default_rng(0)
    rows = []
    for name, inject in _FAULTS.items():
        counts = {"found": 0, "harmless": 0, "wrong": 0}
        for _ in range(faults // len(_FAULTS)):
            backend._files = dict(whole)
            inject(backend._files, rng)
            counts[_outcome(backend, {"base": base, **models})] += 1
        rows.append({"fault": name, "injected": sum(counts.values()), **counts})
    return rows


def _outcome(backend: Memory, expected: Pool) -> str:
    try:
        loaded = ModelStore(backend).load_many(expected, "torch")
    except ShoalError:
        return "found"
    return "harmless" if equal(loaded, expected) else "wrong"


def _any_file(files: Files, rng: np.random.Generator) -> str:
    """A file, the larger the likelier, but small ones too."""
    names = sorted(name for name in files if files[name])
    weights = np.sqrt([len(files[name]) for name in names])
    return str(rng.choice(names, p=weights / weights.sum()))


def _flip(files: Files, rng: np.random.Generator) -> None:
    name = _any_file(files, rng)
    content = bytearray(files[name])
    content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    files[name] = bytes(content)


def _truncate(files: Files, rng: np.random.Generator) -> None:
    name = _any_file(files, rng)
    files[name] = files[name][: rng.integers(len(files[name]))]


def _swap(files: Files, rng: np.random.Generator) -> None:
    """Two stretches of one file change places, or two files do."""
    name = _any_file(files, rng)
    if rng.random() < 0.2:
        other = _any_file(files, rng)
        files[name], files[other] = files[other], files[name]
        return
    content = bytearray(files[name])
    size = int(rng.integers(1, 1 + len(content) // 4))
    one = int(rng.integers(0, len(content) - 2 * size + 1))
    two = int(rng.integers(one + size, len(content) - size + 1))
    first = content[one : one + size]
    content[one : one + size] = content[two : two + size]
    content[two : two + size] = first
    files[name] = bytes(content)


def _delete(files: Files, rng: np.random.Generator) -> None:
    """A whole file goes, or a stretch of one."""
    name = _any_file(files, rng)
    if rng.random() < 0.2:
        del files[name]
        return
    content = files[name]
    size = int(rng.integers(1, 1 + len(content) // 4))
    at = int(rng.integers(0, len(content) - size + 1))
    files[name] = content[:at] + content[at + size :]


_FAULTS: dict[str, Callable[[Files, np.random.Generator], None]] = {
    "bit flip": _flip,
    "truncation": _truncate,
    "swap": _swap,
    "deletion": _delete,
}
