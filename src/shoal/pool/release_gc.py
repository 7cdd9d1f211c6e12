"""Models that only old releases have, and their removal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.files import read_json
from shoal.pool.kept import Kept, kept_files
from shoal.pool.rows import drop_unneeded
from shoal.workflow.gc import refuse_while_running
from shoal.workflow.plan import homes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from shoal.pool_store import PoolStore


def unneeded(root: Path, store: PoolStore, releases: int) -> list[str]:
    """Models in the store that nothing keeps.

    What is kept: the last releases of each variant, models with a tag, those that were brought in,
    and the bases of specialists that are kept, from which a recipe starts.

    Args:
        root: An experiment's results folder.
        store: Its pool store.
        releases: How many releases of each variant.
    """
    listed, kept = set[str](), set[str]()
    for home in homes(root):
        files = kept_files(home)
        listed |= {each for path in files for each in _models(path)}
        kept |= {each for path in files[-releases:] for each in _models(path)}
        own = Kept(home)
        kept |= {*own.tags.values(), *own.imported}
    kept |= {base for each in kept if each in store and (base := store.record(each)["base"])}
    return sorted(each for each in listed - kept if each in store)


def let_go(store: PoolStore, models: Iterable[str]) -> int:
    """Remove models, and what no other needs; bytes freed.

    Raises:
        DataError: A run of the workflow is in progress.
    """
    refuse_while_running()
    before = store.bytes
    store.remove(models)
    drop_unneeded(store)
    store.collect_garbage()
    return before - store.bytes


def _models(path: Path) -> Iterator[str]:
    return (each["id"] for each in read_json(path)["models"])
