"""Models that only old releases have, and their removal."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from shoal.archive.kept import Kept, kept_files
from shoal.archive.rows import drop_unneeded
from shoal.formats.documents.plan import KeptRelease
from shoal.formats.json_file import read_json, update_json
from shoal.plan.plan import homes
from shoal.plan.running import refuse_while_running

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from shoal.model_store import PoolStore


def old_models(root: Path, store: PoolStore, releases: int) -> set[str]:
    """Models of releases that nothing keeps, whether or not the store still has them.

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
    return listed - kept


def unneeded(root: Path, store: PoolStore, releases: int) -> list[str]:
    """Those of :func:`old_models` that are in the store."""
    return sorted(each for each in old_models(root, store, releases) if each in store)


def let_go(root: Path, store: PoolStore, releases: int) -> int:
    """Remove the models that :func:`unneeded` lists; their releases note it. Bytes freed.

    Raises:
        DataError: A run of the workflow is in progress.
    """
    refuse_while_running(root)
    models = old_models(root, store, releases)
    for path in (path for home in homes(root) for path in kept_files(home)):
        own = models.intersection(_models(path))
        if own:
            update_json(path, partial(_without, own))
    return drop(store, [each for each in models if each in store])


def drop(store: PoolStore, models: Iterable[str]) -> int:
    """Remove models, and what no other needs; bytes freed."""
    before = store.bytes
    store.remove(models)
    drop_unneeded(store)
    store.collect_garbage()
    return before - store.bytes


def _without(models: Iterable[str], release: dict[str, Any]) -> dict[str, Any]:
    """A release's record, which says that these of its models were removed on purpose."""
    return release | {"removed": sorted({*release.get("removed", ()), *models})}


def _models(path: Path) -> Iterator[str]:
    return (each["id"] for each in read_json(path, KeptRelease)["models"])
