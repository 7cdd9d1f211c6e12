"""Questions about activations, and their answers as tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import SettingsError
from shoal.explore.intermediates.forms import Kind, check_form, pooled
from shoal.explore.intermediates.models import EMBEDDER, is_key
from shoal.explore.intermediates.search import nearest, top, unit_of
from shoal.formats.documents.plan import RunSettings
from shoal.formats.json_file import read_made
from shoal.terminal import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from shoal.explore.intermediates.models import Model
    from shoal.explore.intermediates.rows import Block
    from shoal.explore.intermediates.search import Found
    from shoal.explore.intermediates.store import Intermediates

Table = tuple[list[str], list[tuple[Any, ...]]]
_ABOUT = ("key", "shard", "partition", "fold", "label")


def nearest_rows(
    store: Intermediates, name: str, layer: str, query: str, k: int, form: str, rows: str
) -> Table:
    """The rows of a model whose activations are nearest to those of other rows.

    Args:
        store: What is kept.
        name: The model.
        layer: The layer.
        query: Key of a row, which is then none of its own neighbours; or a source file.
        k: How many rows for each.
        form: The form; empty for the one in which the layer was asked to be kept.
        rows: ``own``, ``all``, or how many of all.

    Returns:
        Columns and rows: which query, from 1; key, shard, partition, fold, label; distance.
    """
    model, form = _resolved(store, name, layer, form)
    blocks = model.release.rows.blocks(rows, model.partition)
    without = None
    if is_key(query):
        block, at = model.release.rows.find(bytes.fromhex(query))
        # The block that is searched, if it has the row: what is kept of it is of that block.
        place = block.order[at]
        block = next((each for each in blocks if place in each.order), block)
        ((_, values),) = store.blocks(model, layer, form, [block])
        queries = values[block.order == place]
        without = np.array([place])
    else:
        x = store.models.encoded(model.release, Path(query))
        queries = pooled(form, store.of_rows(model, layer, x))
    found = nearest(_numbered(store, model, layer, form, blocks), queries, k, without)
    _say_how(store, model, layer, form)
    return _table(model, found, "distance")


def top_rows(
    store: Intermediates, name: str, layer: str, unit: str, k: int, form: str, rows: str
) -> Table:
    """The rows of a model at which a unit of a layer is most active.

    Args:
        store: What is kept.
        name: The model.
        layer: The layer.
        unit: The unit; see :func:`~.search.unit_of`.
        k: How many rows.
        form: As in :func:`nearest_rows`.
        rows: The same.

    Returns:
        Columns and rows: key, shard, partition, fold, label; activation.
    """
    model, form = _resolved(store, name, layer, form)
    blocks = model.release.rows.blocks(rows, model.partition)
    number = unit_of(unit, _kind(store, model, layer).in_form(form).shape)
    found = top(_numbered(store, model, layer, form, blocks), number, k)
    _say_how(store, model, layer, form)
    columns, listed = _table(model, found, "activation")
    return columns[1:], [row[1:] for row in listed]


def _say_how(store: Intermediates, model: Model, layer: str, form: str) -> None:
    rows = f"rows read: {store.read:,}, recomputed: {store.recomputed:,}"
    say(f"layer {layer} of model {model.name} in form {form}; {rows}")


def _resolved(store: Intermediates, name: str, layer: str, form: str) -> tuple[Model, str]:
    model = store.models.find(name)
    form = form or store.form_of(model, layer)
    check_form(form)
    return model, form


def _kind(store: Intermediates, model: Model, layer: str) -> Kind:
    if model.id == EMBEDDER:
        (block, *_) = model.release.rows.blocks("all")
        ((_, values),) = store.blocks(model, layer, "full", [block])
        return Kind(values.shape[1:], str(values.dtype))
    return store.layer(model, layer)[1]


def _numbered(
    store: Intermediates, model: Model, layer: str, form: str, blocks: Sequence[Block]
) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
    for block, values in store.blocks(model, layer, form, blocks):
        yield block.order, values


def _table(model: Model, found: Found, value: str) -> Table:
    """A row for each query and found row."""
    classes = model.release.shapes.classes
    about = _ABOUT if classes is not None else _ABOUT[:-1]
    inside = np.isfinite(found.values)
    places = np.unique(found.places[inside])
    described = dict(zip(places.tolist(), model.release.rows.described(places), strict=True))
    rows = []
    for query, column in np.argwhere(inside).tolist():
        row = described[int(found.places[query, column])]
        if classes is not None:
            row["label"] = classes[row["y"]] if row["y"] >= 0 else None
        own = (row[name] for name in about)
        rows.append((query + 1, *own, float(found.values[query, column])))
    return ["query", *about, value], rows


def bytes_of(text: str) -> int:
    """A number of bytes, such as ``250000``, ``100MB`` or ``2GiB``.

    Raises:
        SettingsError: It is none.
    """
    units = {"": 1, "b": 1}
    for power, letter in enumerate("kmgt", start=1):
        units |= {f"{letter}b": 1000**power, letter: 1000**power, f"{letter}ib": 1024**power}
    number = text.strip().lower().rstrip("bikmgt ")
    unit = text.strip().lower()[len(number) :].strip()
    try:
        size = float(number) * units[unit]
    except (ValueError, KeyError):
        raise SettingsError(f"budget {text!r}: no number of bytes, such as 100MB") from None
    return int(size)


def usual_budget(results: Path) -> int:
    """``intermediates.budget`` of the settings that an experiment last ran with.

    Raises:
        SettingsError: It ran before there was such a setting.
    """
    settings = read_made(results / "settings.json", RunSettings)
    budget = settings.get("intermediates", {}).get("budget")
    if budget is None:
        raise SettingsError(
            f"{results / 'settings.json'}: has no intermediates.budget; run the workflow again, or "
            f"give --budget"
        )
    return int(budget)
