"""Models for a small store, and ways to tamper with its files and index."""

from __future__ import annotations

import numpy as np

from shoal.model_store import ModelStore
from shoal.model_store.index_format import write_index


def pool(count=40):
    """A base and models near it."""
    rng = np.random.default_rng(0)
    base = {"0.weight": rng.normal(size=(20, 30)).astype("f4"), "0.bias": np.ones(3, "f4")}
    moved = {
        f"m{n}": {k: a + rng.normal(size=a.shape).astype("f4") / 1000 for k, a in base.items()}
        for n in range(count)
    }
    return {"base": base, **moved}


def files(store):
    """The store's files, to be tampered with."""
    return store._backend._files


def all_models(store):
    """Every model as a reader that starts afresh gets it."""
    return ModelStore(store._backend).load_many(pool())


def forged(store, change):
    """Write what ``change`` makes of the index, with hashes that agree."""
    contents = store._current().contents()
    change(contents)
    write_index(store._backend, contents)
    return ModelStore(store._backend)
