"""How a model is kept: whole, as a difference from others, or as a recipe."""

from __future__ import annotations

import zlib
from collections import defaultdict
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Literal

from shoal.archive.recipes import (
    Recipe,
    drop_unneeded,
    is_rows,
    read_blocks,
    recipe_of,
    record_of,
    recovery_seconds,
    rows_name,
    sketches,
    start_of,
    trained_again,
)
from shoal.errors import ModelError, ShoalError
from shoal.formats.hashing import canonical_json
from shoal.model_store import ModelStore
from shoal.model_store.backends import Memory
from shoal.model_store.bases import best_bases, rewrite
from shoal.model_store.care import freed_by, usage
from shoal.model_store.tensors import tree_of
from shoal.terminal import say

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shoal.archive.kept import Archive
    from shoal.archive.recipes import Tensors
    from shoal.formats.documents.plan import ModelRecord
    from shoal.model_store.tensors import JsonObject

Storage = Literal["snapshot", "delta", "recipe"]

_LONGEST_CHAIN = 4  # models that are read before one, at most, unless it is said otherwise
_MOST = 8  # models that one is compared with


def storage_of(record: ModelRecord) -> str:
    """How a model with this record is kept."""
    return str(record.get("keep", "delta"))


def keep_as(archive: Archive, model: str, storage: Storage) -> None:
    """Keep a model whole, as a difference or as a recipe; at any time the store has one of them.

    Raises:
        ModelError: A recipe is not possible.
        RecoveryError: Trained again it has other bits; the model stays as it is.
        ShoalError: The rows that a recipe needs are gone.
    """
    record = record_of(archive.store, model)
    before = storage_of(record)
    try:
        if storage == "recipe" != before:
            _to_recipe(archive, model, record)
        elif storage != before:
            _to_weights(archive, model, record, storage)
            if before != "recipe":
                rebase(archive.store, even_if_larger=True)
    finally:
        drop_unneeded(archive.store)


def settle(archive: Archive, models: Iterable[str], within: float | None) -> None:
    """Replace the weights of a release's specialists by recipes where that is possible.

    Each is trained again before; those that come out with other bits keep their weights, as do
    those for which a person has chosen how they are kept.

    Args:
        archive: The experiment's models; it trusts their module.
        models: Ids of the release's models.
        within: None for all of them. Otherwise only those whose recovery takes no more seconds,
            that of the recipes which they continue from and are continued by counted, and of these
            only where rows and recipes take fewer bytes than the weights.
    """
    records = {model: record_of(archive.store, model) for model in models}
    found = {
        model: record
        for model, record in records.items()
        if record["kind"] == "specialist" and "keep" not in record
    }
    slowest = {} if within is None else _slowest(archive.store, found)
    by_rows: dict[str, list[str]] = defaultdict(list)
    for model, record in found.items():
        if within is None or slowest[model] <= within:
            by_rows[str(record["digest"])].append(model)
    for group in by_rows.values():
        try:
            if within is not None and _saving(archive, {m: found[m] for m in group}) <= 0:
                continue
        except ShoalError as error:
            say(f"{error}; specialists of these rows keep their weights")
            continue
        for model in group:
            try:
                _to_recipe(archive, model, found[model])
            except ShoalError as error:
                say(f"{error}; it keeps its weights")
    drop_unneeded(archive.store)


def rebase(
    store: ModelStore, longest: int = _LONGEST_CHAIN, *, even_if_larger: bool = False
) -> int:
    """Choose for each model the one that it is kept as a difference from, and write all anew.

    Args:
        store: The models and their records.
        longest: Models that are read before one, at most.
        even_if_larger: Whether the store is written anew where that saves no bytes.

    Returns:
        Bytes saved.
    """
    records = {each: record_of(store, each) for each in store.ids() if not is_rows(each)}
    return rewrite(
        store, best_bases(store, _similar(records), longest), even_if_larger=even_if_larger
    )


def _similar(records: Mapping[str, ModelRecord]) -> dict[str, list[str]]:
    """For each model those that are likely to resemble it.

    Its base, the one before it in its partition, those after it, and those of the same rows.
    """
    after: dict[str | None, list[str]] = defaultdict(list)
    beside: dict[str | None, list[str]] = defaultdict(list)
    weights = {model: each for model, each in sorted(records.items()) if "recipe" not in each}
    for model, record in weights.items():
        after[record["parent"]].append(model)
        if record["digest"] is not None:
            beside[record["digest"]].append(model)
    found = {}
    for model, record in weights.items():
        near = [record["parent"], record["base"], *after[model], *beside[record["digest"]]]
        named = [each for each in dict.fromkeys(near) if each in weights and each != model]
        found[model] = [] if record.get("keep") == "snapshot" else named[:_MOST]
    return found


def _slowest(store: ModelStore, models: Iterable[str]) -> dict[str, float]:
    """Seconds of the slowest recovery that some models take part in, were they recipes.

    It is that of a model itself, or of a recipe that continues from it.
    """
    own = {model: recovery_seconds(store, model) for model in models}
    after = dict.fromkeys(own, 0.0)
    for model in store.ids():
        end = _with_weights(store, model)
        if end in after:
            after[end] = max(after[end], recovery_seconds(store, model))
    return {model: seconds + after[model] for model, seconds in own.items()}


def _with_weights(store: ModelStore, model: str) -> str | None:
    """The nearest model with weights that a recipe continues from; None for what is no recipe."""
    before = None if is_rows(model) or recipe_of(store, model) is None else model
    while before is not None and before in store and recipe_of(store, before) is not None:
        before = start_of(record_of(store, before))
    return before


def _saving(archive: Archive, group: Mapping[str, ModelRecord]) -> int:
    """Bytes that the store would shrink by if models of the same rows became recipes."""
    store, aside = archive.store, ModelStore(Memory())
    made = [_recipe(archive, model, record) for model, record in group.items()]
    text = canonical_json([asdict(recipe) for recipe, _ in made])
    blocks = made[0][1]
    there = {a for each in store.ids() if is_rows(each) for a in store.tree(each).tensors.values()}
    new = {n: blocks[n] for n, address in tree_of(blocks).tensors.items() if address not in there}
    aside.save({"rows": new})
    cost = usage(aside, "rows").stored + len(zlib.compress(text.encode()))
    return freed_by(store, group) - cost


def _to_recipe(archive: Archive, model: str, record: ModelRecord) -> None:
    """Replace weights that training has given again; recipe and rows come in the same step."""
    recipe, blocks = _recipe(archive, model, record)
    _, seconds = trained_again(archive.store, model, recipe, archive.trust, blocks)
    content = asdict(replace(recipe, seconds=seconds))
    records: dict[str, JsonObject] = {
        model: {**record, "keep": "recipe", "recipe": content},
        recipe.rows: {"kind": "rows"},
    }
    archive.store.save({model: {}, recipe.rows: blocks}, records=records, replace=True)


def _recipe(archive: Archive, model: str, record: ModelRecord) -> tuple[Recipe, Tensors]:
    """A model's recipe, and blocks of its training rows.

    Raises:
        ModelError: It is no specialist, or what was kept does not say how it was trained.
    """
    if record["kind"] != "specialist" or record["meta"].get("diverged"):
        raise ModelError(
            f"model {model}: only a specialist that was trained to its end has a recipe"
        )
    release = archive.release_of(model)
    if "training" not in release or model in archive.imported:
        raise ModelError(f"model {model}: what was kept of it does not say how it was trained")
    if release["training"]["patience"] is not None:
        raise ModelError(
            f"model {model}: its training may have stopped early, by validation rows, and a recipe "
            f"holds training rows alone"
        )
    if release["training"].get("flops") is not None:
        raise ModelError(
            f"model {model}: how many rows it saw follows from a budget in FLOPs, which a recipe "
            f"does not hold"
        )
    if start_of(record) not in archive.models:
        raise ModelError(f"model {model}: what its training starts from is not in the store")
    digest, tensors = str(record["digest"]), archive.store.load(model)
    rows = rows_name(digest)
    if rows in archive.store:
        blocks = archive.store.load(rows)
    else:
        blocks = read_blocks(archive.root / release["index"], digest)
    recipe = Recipe(
        model=release["model"],
        training=release["training"],
        shapes=release["shapes"],
        threads=record["ledger"]["device"]["threads"],
        rows=rows,
        tensors=tree_of(tensors).tensors,
        sketches=sketches(tensors),
        seconds=0,
    )
    return recipe, blocks


def _to_weights(archive: Archive, model: str, record: ModelRecord, storage: Storage) -> None:
    tensors = archive.load(model)
    near = {}
    if storage == "delta":
        stored = archive.models
        near = {each: str(record[each]) for each in ("parent", "base") if record[each] in stored}
    parents = {model: near["parent"]} if "parent" in near else {}
    changed = {name: value for name, value in record.items() if name != "recipe"}
    records = {model: changed | {"keep": storage}}
    archive.store.save({model: tensors}, near.get("base"), parents, records, replace=True)
