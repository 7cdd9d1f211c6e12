"""What models take in a store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shoal.model_store.collect import needed
from shoal.model_store.index import Index, read_root

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shoal.model_store.store import PoolStore


@dataclass(frozen=True)
class Usage:
    """What one model takes.

    Attributes:
        plain: Bytes of its tensors.
        stored: Bytes of their frames, also of those that others share, references aside.
        steps: References that are followed to read it, at most.
    """

    plain: int
    stored: int
    steps: int


def usage(store: PoolStore, model: str) -> Usage:
    """What a model takes, by the index alone.

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


def freed_by(store: PoolStore, models: Iterable[str]) -> int:
    """Bytes that collecting garbage would free if these models were removed."""
    index, gone = _index(store), set(models)
    if index is None:
        return 0
    contents = index.contents()
    before = needed(contents)
    contents.entries = {m: entry for m, entry in contents.entries.items() if m not in gone}
    return int(contents.frames["size"][before & ~needed(contents)].sum())


def _index(store: PoolStore) -> Index | None:
    root = read_root(store.backend)
    return None if root is None else Index(store.backend, root)
