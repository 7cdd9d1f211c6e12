"""What models take in a store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shoal.pool_store.collect import needed

if TYPE_CHECKING:
    from collections.abc import Set

    from shoal.pool_store.index import Index
    from shoal.pool_store.index_format import Entry


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


def usage(index: Index, entry: Entry) -> Usage:
    """What a model takes, by the index alone."""
    rows = index.rows(np.unique(np.array(entry.rows, np.int64)))
    plain = sum(kind.bytes for _, kind in index.layouts[entry.layout])
    return Usage(plain, int(rows["size"].sum()), int(rows["depth"].max(initial=0)))


def freed_by(index: Index, models: Set[str]) -> int:
    """Bytes of frames that nothing needs once some models are gone."""
    contents = index.contents()
    before = needed(contents)
    contents.entries = {m: entry for m, entry in contents.entries.items() if m not in models}
    return int(contents.rows["size"][before & ~needed(contents)].sum())
