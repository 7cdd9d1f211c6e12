"""Training rows of recipes that the data no longer has, and their removal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shoal.archive.kept import kept_files
from shoal.archive.recipe import recipe_in
from shoal.archive.release_gc import drop
from shoal.archive.rows import joined, short_keys
from shoal.errors import SourceError
from shoal.formats.documents.index import Members
from shoal.formats.documents.plan import KeptRelease
from shoal.formats.json_file import read_json, read_made
from shoal.formats.row_store import ShardRows
from shoal.partitions.reader import Index
from shoal.plan.plan import homes
from shoal.plan.running import refuse_while_running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.model_store import PoolStore


def gone_rows(root: Path, store: PoolStore) -> dict[str, int]:
    """Recipes by id, and how many rows each needs that the data no longer has.

    The data is what the last release of each variant was made from; a row is in it as long as its
    key is.

    Args:
        root: An experiment's results folder.
        store: Its pool store.

    Raises:
        SourceError: The row stores of a last release are gone, so nobody can tell.
        CorruptError: Something is damaged.
    """
    there = np.unique(np.concatenate([np.empty(0, "<u8"), *_keys(root)]))
    found = {model: recipe_in(store.record(model)) for model in store.ids()}
    rows = {model: recipe.rows for model, recipe in found.items() if recipe is not None}
    counts = {
        name: int(np.count_nonzero(~np.isin(joined(store.load(name))["key"], there)))
        for name in found.keys() & set(rows.values())
    }
    return {model: counts[name] for model, name in rows.items() if counts.get(name)}


def forget(root: Path, store: PoolStore, gone: Mapping[str, int]) -> int:
    """Remove the rows of recipes, which cannot be followed any more and say so; bytes freed.

    Args:
        root: An experiment's results folder.
        store: Its pool store.
        gone: What :func:`gone_rows` found.

    Raises:
        DataError: A run of the workflow is in progress.
    """
    refuse_while_running(root)
    records = {model: store.record(model) for model in gone}
    for model, rows in gone.items():
        records[model]["recipe"]["forgotten"] = rows
    store.save({model: {} for model in gone}, records=records, replace=True)
    return drop(store, {record["recipe"]["rows"] for record in records.values()})


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
    members = (index.path.parent / "members").glob("*.json")
    return {
        path
        for each in members
        for fold in read_made(each, Members)
        for path, _, _ in index.places(int(each.stem), fold)
    }
