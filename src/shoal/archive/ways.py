"""How a model is kept: whole, as what differs from others, or as a recipe."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from shoal.archive.recipe import Recipe, trained_again
from shoal.archive.rows import drop_unneeded, is_rows, read_blocks, rows_name
from shoal.archive.sketch import sketches
from shoal.errors import ModelError, ShoalError
from shoal.formats.hashing import canonical_json
from shoal.model_store.tensors import tree_of
from shoal.terminal import say

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from shoal.archive.kept import Kept

    Record = Mapping[str, Any]


Way = Literal["snapshot", "delta", "recipe"]


def way_of(record: Record) -> str:
    """How a model with this record is kept."""
    return str(record.get("keep", "delta"))


def keep_as(kept: Kept, model: str, way: Way) -> None:
    """Keep a model in another way. At any time the store has it in one of them.

    Raises:
        ModelError: A recipe is not possible.
        RecoveryError: Trained again it has other bits; the model stays as it is.
        ShoalError: The rows that a recipe needs are gone.
    """
    from shoal.archive.rebase import rebase

    record = kept.store.record(model)
    before = way_of(record)
    try:
        if way == "recipe" != before:
            _to_recipe(kept, model, record)
        elif way != before:
            _to_weights(kept, model, record, way)
            if before != "recipe":
                rebase(kept.store, even_if_larger=True)
    finally:
        _tidy(kept)


def settle(kept: Kept, models: Iterable[str], within: float | None) -> None:
    """Give up the weights of a release's specialists where a recipe is to be had.

    Each is trained again before; those that come out with other bits keep their weights, as do
    those for which a way was chosen.

    Args:
        kept: What an experiment has kept; it trusts the model's module.
        models: Ids of the release's models.
        within: None for all of them. Otherwise only those whose training took no more seconds,
            and of these only where rows and recipes take fewer bytes than the weights.
    """
    found = {model: kept.store.record(model) for model in models}
    by_rows: dict[str, list[str]] = {}
    for model, record in found.items():
        is_quick = within is None or record["ledger"]["seconds"] <= within
        if record["kind"] == "specialist" and "keep" not in record and is_quick:
            by_rows.setdefault(record["digest"], []).append(model)
    for group in by_rows.values():
        try:
            if within is not None and _saving(kept, {m: found[m] for m in group}) <= 0:
                continue
        except ShoalError as error:
            say(f"{error}; specialists of these rows keep their weights")
            continue
        for model in group:
            try:
                _to_recipe(kept, model, found[model])
            except ShoalError as error:
                say(f"{error}; it keeps its weights")
    _tidy(kept)


def _saving(kept: Kept, group: Mapping[str, Record]) -> int:
    """Bytes that the store would shrink by if models of the same rows became recipes."""
    import zlib

    from shoal.model_store import PoolStore
    from shoal.model_store.backends import Memory
    from shoal.model_store.usage import freed_by, usage

    store, aside = kept.store, PoolStore(Memory())
    made = [_recipe(kept, model, record) for model, record in group.items()]
    text = canonical_json([recipe.as_json() for recipe, _ in made])
    blocks = made[0][1]
    there = {a for each in store.ids() if is_rows(each) for a in store.tree(each).tensors.values()}
    new = {n: blocks[n] for n, address in tree_of(blocks).tensors.items() if address not in there}
    aside.save({"rows": new})
    cost = usage(aside, "rows").stored + len(zlib.compress(text.encode()))
    return freed_by(store, group) - cost


def _to_recipe(kept: Kept, model: str, record: Record) -> None:
    """Give up weights that training has given again; recipe and rows come in the same step."""
    recipe, blocks = _recipe(kept, model, record)
    _, seconds = trained_again(kept.store, model, record, recipe, kept.trust, blocks)
    content = replace(recipe, seconds=seconds).as_json()
    records = {
        model: {**record, "keep": "recipe", "recipe": content},
        recipe.rows: {"kind": "rows"},
    }
    kept.store.save({model: {}, recipe.rows: blocks}, records=records, replace=True)


def _recipe(kept: Kept, model: str, record: Record) -> tuple[Recipe, dict[str, NDArray[Any]]]:
    """A model's recipe, and blocks of its training rows.

    Raises:
        ModelError: It is no specialist, or what was kept does not say how it was trained.
    """
    if record["kind"] != "specialist" or record["meta"].get("diverged"):
        raise ModelError(
            f"model {model}: only a specialist that was trained to its end has a recipe"
        )
    release = kept.release_of(model)
    if "training" not in release or model in kept.imported:
        raise ModelError(f"model {model}: what was kept of it does not say how it was trained")
    rows, tensors = rows_name(record["digest"]), kept.store.load(model)
    if rows in kept.store:
        blocks = kept.store.load(rows)
    else:
        blocks = read_blocks(kept.root / release["index"], record["digest"])
    recipe = Recipe(
        model=release["model"],
        training=release["training"],
        shapes=release["shapes"],
        threads=record["ledger"]["device"]["threads"],
        rows=rows,
        tensors=tree_of(tensors).tensors,
        sketches=sketches(tensors),
        predicted_seconds=record["ledger"]["seconds"],
        seconds=0,
    )
    return recipe, blocks


def _to_weights(kept: Kept, model: str, record: Record, way: Way) -> None:
    tensors = kept.load(model)
    changed = {name: value for name, value in record.items() if name != "recipe"}
    near = {}
    if way == "delta":
        stored = kept.models
        near = {each: record[each] for each in ("parent", "base") if record[each] in stored}
    parents = {model: near["parent"]} if "parent" in near else {}
    records = {model: changed | {"keep": way}}
    kept.store.save({model: tensors}, near.get("base"), parents, records, replace=True)


def _tidy(kept: Kept) -> None:
    drop_unneeded(kept.store)
    kept.store.collect_garbage()
