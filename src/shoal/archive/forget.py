"""Removal of models that only old releases have, and of training rows that the data lost."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from shoal.archive.kept import Archive, kept_files
from shoal.archive.recipes import (
    drop_unneeded,
    is_rows,
    joined,
    recipe_of,
    record_of,
    short_keys,
    start_of,
)
from shoal.errors import SourceError
from shoal.formats.documents.plan import KeptRelease
from shoal.formats.json_file import read_json, update_json
from shoal.formats.row_store import ShardRows
from shoal.partitions.index import UNASSIGNED
from shoal.partitions.reader import Index
from shoal.plan.history import STORE
from shoal.plan.plan import homes
from shoal.plan.running import refuse_while_running

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.model_store import ModelStore
    from shoal.model_store.tensors import JsonObject


@dataclass(frozen=True)
class OldModels:
    """Models that no kept release has.

    Attributes:
        root: The experiment's results folder.
        listed: Ids of all that releases list, whether or not the store still has them.
        stored: Those that are in the store, in order.
        size: Bytes of the store that neither the other models nor anything else needs.
    """

    root: Path
    listed: frozenset[str]
    stored: list[str]
    size: int


def old_models(root: Path, releases: int | None) -> OldModels:
    """Models that no kept release has.

    Kept are the last releases of each variant, models with a tag, imported ones, the bases of
    specialists that are kept, from which a recipe starts, and all that a recipe continues from.

    Args:
        root: The experiment's results folder.
        releases: How many releases of each variant are kept; all if it is None.
    """
    from shoal.model_store import ModelStore
    from shoal.model_store.care import collectable

    if not (root / STORE).is_dir():
        return OldModels(root, frozenset(), [], 0)
    store = ModelStore(root / STORE)
    listed, kept = set[str](), set[str]()
    for home in homes(root) if releases else ():
        files = kept_files(home)
        listed |= {each for path in files for each in _models(path)}
        kept |= {each for path in files[-(releases or 0) :] for each in _models(path)}
        own = Archive(home)
        kept |= {*own.tags.values(), *own.imported}
    kept |= {each for model in kept for each in _needed(store, model)}
    old = frozenset(listed - kept)
    stored = sorted(each for each in old if each in store)
    return OldModels(root, old, stored, collectable(store, stored))


def _needed(store: ModelStore, model: str) -> Iterator[str]:
    """The base of a model, and what its recipe, if it has one, continues from, and so on."""
    if model not in store:
        return
    record = record_of(store, model)
    if record["base"] is not None:
        yield record["base"]
    if "recipe" in record and (start := start_of(record)) is not None:
        yield start
        yield from _needed(store, start)


def drop_models(old: OldModels) -> None:
    """Remove models and all else that the store does not need; their releases note it.

    Raises:
        DataError: A run of the workflow is in progress.
    """
    from shoal.model_store import ModelStore

    if not (old.listed or old.size):
        return
    refuse_while_running(old.root)
    for path in (path for home in homes(old.root) for path in kept_files(home)):
        own = old.listed.intersection(_models(path))
        if own:
            update_json(path, partial(_without, own))
    _drop(ModelStore(old.root / STORE), old.stored)


def gone_rows(root: Path, store: ModelStore) -> dict[str, int]:
    """Recipes by id, and how many rows each needs that the data no longer has.

    The data is what the last release of each variant was made from; a row is in it as long as its
    key is.

    Args:
        root: An experiment's results folder.
        store: Its store of models.

    Raises:
        SourceError: The row stores of a last release are gone, so nobody can tell.
        CorruptError: Something is damaged.
    """
    there = np.unique(np.concatenate([np.empty(0, "<u8"), *_keys(root)]))
    found = {model: recipe_of(store, model) for model in store.ids()}
    rows = {model: recipe.rows for model, recipe in found.items() if recipe is not None}
    counts = {
        name: int(np.count_nonzero(~np.isin(joined(store.load(name))["key"], there)))
        for name in found.keys() & set(rows.values())
    }
    return {model: counts[name] for model, name in rows.items() if counts.get(name)}


def lost_with(store: ModelStore, gone: Mapping[str, int]) -> list[str]:
    """Recipes that continue from one with lost rows, and are lost with it.

    Args:
        store: An experiment's store of models.
        gone: Recipes and their lost rows, see :func:`gone_rows`.
    """

    def is_lost(model: str) -> bool:
        if is_rows(model) or recipe_of(store, model) is None:
            return False
        start = start_of(record_of(store, model))
        return model in gone or (start is not None and start in store and is_lost(start))

    return [model for model in store.ids() if model not in gone and is_lost(model)]


def forget(root: Path, store: ModelStore, gone: Mapping[str, int]) -> int:
    """Remove the rows of recipes, which cannot be followed any more and say so; bytes freed.

    Args:
        root: An experiment's results folder.
        store: Its store of models.
        gone: Recipes and their lost rows, see :func:`gone_rows`.

    Raises:
        DataError: A run of the workflow is in progress.
    """
    refuse_while_running(root)
    records = {model: store.record(model) for model in gone}
    for model, rows in gone.items():
        records[model]["recipe"]["forgotten"] = rows
    store.save({model: {} for model in gone}, records=records, replace=True)
    return _drop(store, {record["recipe"]["rows"] for record in records.values()})


def _drop(store: ModelStore, models: Iterable[str]) -> int:
    """Remove models, and what no other needs; bytes freed."""
    before = store.bytes
    store.remove(models)
    drop_unneeded(store)
    return before - store.bytes


def _without(models: Iterable[str], release: JsonObject) -> JsonObject:
    """A release's record, which says that these of its models were removed on purpose."""
    return release | {"removed": sorted({*release.get("removed", ()), *models})}


def _models(path: Path) -> Iterator[str]:
    return (each["id"] for each in read_json(path, KeptRelease)["models"])


def _keys(root: Path) -> Iterator[NDArray[np.uint64]]:
    """Short keys of the rows of every variant's last release, row store by row store."""
    for home in homes(root):
        for release in kept_files(home)[-1:]:
            for path in sorted(_row_stores(Index(root / read_json(release, KeptRelease)["index"]))):
                if not path.exists():
                    raise SourceError(f"{path}: is not there; run the workflow, then ask again")
                with ShardRows(path) as store:
                    yield short_keys(store.read("key"))


def _row_stores(index: Index) -> set[Path]:
    """The row stores that have rows of any partition, or of none, in any fold."""
    members = (index.members(number) for number in (UNASSIGNED, *range(len(index.partitions))))
    ranges = itertools.chain.from_iterable(rows for each in members for rows in each.values())
    return {index.store(shard) for shard, _, _ in ranges}
