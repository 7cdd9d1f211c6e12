"""Texts and tables that ``shoal models log``, ``show`` and ``diff`` print."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from shoal.archive.kept import which_of
from shoal.archive.recipes import lost_rows, recipe_of, record_of, recovery_seconds
from shoal.archive.storage import storage_of
from shoal.model_store.care import usage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.archive.kept import Archive
    from shoal.formats.documents.plan import KeptModel, ModelRecord
    from shoal.model_store.tensors import Tensors

_FEW = 12


def log_text(archive: Archive) -> Text:
    """The releases, the last first: the models that are new in each, and its pool's score."""
    metric = archive.releases[-1]["metric"]
    text = Text()
    for release, new, gone in reversed(list(archive.changes())):
        time = release["time"].replace("T", " ").removesuffix("+00:00")
        text.append(f"{release['number']}  {release['release']}", "bold")
        text.append(f"  {time}, {release['generation']}\n")
        text.append(f"   {len(release['models'])} models (+{len(new)} -{gone}), new: {_new(new)}\n")
        score = release["score"]
        if score:
            text.append(f"   {metric} {score['pool']:.4g}, generalist {score['generalist']:.4g}: ")
        text.append(f"{'' if score else '   '}{release['verdict']}\n")
    for model, facts in archive.imported.items():
        text.append(f"{model}", "bold")
        text.append(f"  {facts['time']}, imported from {facts['file']}\n")
    text.rstrip()
    return text


def _new(models: Sequence[KeptModel]) -> str:
    which = list(dict.fromkeys(which_of(each) for each in models))
    if len(which) > _FEW:
        return f"{', '.join(which[:_FEW])} and {len(which) - _FEW} more"
    return ", ".join(which) or "none"


def model_text(archive: Archive, name: str) -> Table:
    """Where a model comes from, how it is kept, and its layers."""
    model = archive.find(name)
    record = record_of(archive.store, model)
    ledger = record["ledger"]
    tree = archive.tree(model)
    continues = record["meta"].get("continues")
    table = Table.grid(padding=(0, 2))
    lines = {
        "model": model,
        "kind": record["kind"],
        "partition": record["partition"],
        "grid point": record["point"],
        "link" if continues else "rows": record["digest"],
        "base": record["base"],
        "parent": None if continues else record["parent"],
        "continues": continues and (record["parent"] or f"{continues}, which is not kept"),
        "first release": record["release"]
        and f"{record['release']}, generation {record['generation']}",
        "settings": record["settings"],
        "seed": record["seed"],
        "code": record["code"],
        "environment": ", ".join(f"{k} {v}" for k, v in ledger.get("versions", {}).items()) or None,
        "cost": f"{ledger['flops']:.3g} FLOPs, {ledger['seconds']:.3g} s" if ledger else None,
        "imported from": record.get("imported"),
        "kept": _kept(archive, model, record),
        "tags": ", ".join(tag for tag, of in archive.tags.items() if of == model) or None,
    }
    for title, value in lines.items():
        if value is not None:
            table.add_row(Text(title, style="bold"), Text(str(value)))
    for layer, digest in tree.layers.items():
        table.add_row(Text(layer or "(top)", style="dim"), digest[:12])
    return table


def _kept(archive: Archive, model: str, record: ModelRecord) -> str:
    """How a model is kept, in how many bytes, and how long its recovery takes."""
    recipe = recipe_of(archive.store, model)
    if lost := lost_rows(archive.store, model):
        return f"no more: rows of its recipe were forgotten ({lost})"
    if recipe is not None:
        rows = usage(archive.store, recipe.rows)
        predicted = recovery_seconds(archive.store, model)
        return (
            f"recipe, and rows of {decimal(rows.stored)}; trained again in {recipe.seconds:.3g} s, "
            f"{predicted:.3g} s predicted"
        )
    used = usage(archive.store, model)
    start = perf_counter()
    archive.store.load(model)
    seconds = perf_counter() - start
    return (
        f"{storage_of(record)}, {decimal(used.stored)} of {decimal(used.plain)}; "
        f"read in {seconds * 1000:.2g} ms, over {used.steps} references"
    )


def diff_table(archive: Archive, first: str, second: str) -> Table | str:
    """Compare two models layer by layer.

    The distance of a layer is the Euclidean norm of the difference of its parameters, also as a
    share of the first one's norm.
    """
    ids = archive.find(first), archive.find(second)
    trees = [archive.tree(model) for model in ids]
    if trees[0].root == trees[1].root:
        return f"{ids[0]} and {ids[1]} are equal, bit for bit"
    layers = [*trees[0].layers, *(each for each in trees[1].layers if each not in trees[0].layers)]
    loaded = [archive.load(model, "torch") for model in ids]
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("layer", "parameters", "differ"):
        table.add_column(name)
    for name in ("largest", "distance", "share of norm"):
        table.add_column(name, justify="right")
    for layer in layers:
        hashes = [tree.layers.get(layer) for tree in trees]
        if hashes[0] == hashes[1]:
            table.add_row(layer or "(top)", "", "equal")
        elif None in hashes:
            table.add_row(layer or "(top)", "", f"only in {ids[hashes.index(None) ^ 1]}")
        else:
            table.add_row(layer or "(top)", *_difference(layer, loaded))
    return table


def _difference(layer: str, models: Sequence[Tensors]) -> tuple[str, ...]:
    """Number of parameters, how many differ, largest difference, distance, and its share."""
    parts = [_parameters(layer, model) for model in models]
    if len(parts[0]) != len(parts[1]):
        return f"{len(parts[0])} and {len(parts[1])}", "another shape"
    apart = np.abs(parts[0] - parts[1])
    distance, norm = float(np.linalg.norm(apart)), float(np.linalg.norm(parts[0]))
    share = f"{distance / norm:.3%}" if norm else "-"
    count = int(np.count_nonzero(apart))
    return str(len(apart)), str(count), f"{apart.max():.3g}", f"{distance:.3g}", share


def _parameters(layer: str, model: Tensors) -> NDArray[np.float64]:
    import torch

    own = [t for name, t in sorted(model.items()) if name.rpartition(".")[0] == layer]
    row: NDArray[np.float64] = torch.cat([t.reshape(-1).to(torch.float64) for t in own]).numpy()
    return row


def instances_table(root: Path, instance: str | None) -> Table:
    """The last state of each instance, or all states of one."""
    from shoal.archive.instances import Instances

    instances = Instances(root)
    if instance is None:
        states = list({state.instance: state for state in instances.states}.values())
    else:
        states = [s for s in instances.states if s.instance == instances.find(instance).instance]
    table = Table("state", "time", "came back as", "made from", "bytes", "tensors that differ")
    for state in states:
        own = instances.store.tree(state.id)
        before = None if state.before is None else instances.store.tree(state.before)
        changed = f"{len(own.apart(before))} of {len(own.tensors)}" if before else ""
        time = state.time.replace("T", " ").removesuffix("+00:00")
        table.add_row(
            *(state.id, time, state.way, state.before or "", f"{state.received:,}", changed)
        )
    return table
