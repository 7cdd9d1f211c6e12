"""Nearest rows and highest activations: exact, with one block of rows in memory at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.errors import ModelError, SettingsError
from shoal.explore.intermediates.forms import Kind, check_form, pooled
from shoal.explore.intermediates.models import EMBEDDER, is_key
from shoal.formats.documents.plan import RunSettings
from shoal.formats.json_file import read_made
from shoal.terminal import say

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from shoal.explore.intermediates.models import Model
    from shoal.explore.intermediates.rows import Block
    from shoal.explore.intermediates.store import Intermediates

    Blocks = Iterable[tuple[NDArray[np.int64], NDArray[Any]]]

Table = tuple[list[str], list[tuple[Any, ...]]]
_QUERIES = 512  # of which distances to a block are held at once
_ABOUT = ("key", "shard", "partition", "fold", "label")


def nearest_rows(
    store: Intermediates, name: str, layer: str, query: str, k: int, form: str, rows: str
) -> Table:
    """The rows of a model whose activations are nearest to those of other rows.

    Args:
        store: The activations.
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
        store: The activations.
        name: The model.
        layer: The layer.
        unit: The unit; see :func:`unit_of`.
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
    """One row per query and row that it found."""
    classes = model.release.shapes.classes
    about = _ABOUT if classes is not None else _ABOUT[:-1]
    inside = np.isfinite(found.values)
    places = np.unique(found.places[inside])
    described = dict(zip(places.tolist(), model.release.rows.described(places), strict=True))
    rows = []
    for query, column in np.argwhere(inside).tolist():
        row = described[int(found.places[query, column])]
        own = [row.key, row.shard, row.partition, row.fold]
        if classes is not None:
            own.append(None if row.y is None or row.y < 0 else classes[int(row.y)])
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


@dataclass(frozen=True)
class Found:
    """The best rows of each query, the best first.

    Attributes:
        places: Numbers of the rows, int64 ``(queries, at most k)``.
        values: Their distances or activations, float64, of the same shape.
    """

    places: NDArray[np.int64]
    values: NDArray[np.float64]


def nearest(
    blocks: Blocks, queries: NDArray[Any], k: int, without: NDArray[np.int64] | None = None
) -> Found:
    """The rows with the smallest Euclidean distances; equal ones in order of their numbers.

    Args:
        blocks: Numbers of rows, ``(rows,)``, and their values, ``(rows, …)``.
        queries: ``(queries, …)``.
        k: How many for each query.
        without: For each query, the number of a row that is none of its neighbours.
    """
    from scipy.spatial.distance import cdist

    parts = [slice(at, at + _QUERIES) for at in range(0, max(1, len(queries)), _QUERIES)]
    points = [_flat(queries[part]) for part in parts]
    best = [_nothing(len(each)) for each in points]
    for places, values in blocks:
        rows = _flat(values)
        for number, part in enumerate(parts):
            distances = cdist(points[number], rows)
            distances[np.isnan(distances)] = np.inf
            if without is not None:
                distances[without[part, None] == places[None]] = np.inf
            best[number] = _merged(best[number], places, distances, k)
    places = np.concatenate([each.places for each in best])
    return _finite(Found(places, np.concatenate([each.values for each in best])))


def top(blocks: Blocks, unit: int, k: int) -> Found:
    """The rows with the highest activations of a unit; equal ones in order of their numbers.

    Args:
        blocks: Numbers of rows, ``(rows,)``, and their values, ``(rows, …)``.
        unit: Place of the unit in a row, flattened.
        k: How many.

    Returns:
        For one query.
    """
    best = _nothing(1)
    for places, values in blocks:
        activation = -_flat(values)[:, unit][None]
        best = _merged(best, places, np.where(np.isnan(activation), np.inf, activation), k)
    found = _finite(best)
    return Found(found.places, -found.values + 0.0)


def unit_of(text: str, shape: tuple[int, ...]) -> int:
    """Place of a unit in a row, flattened.

    Args:
        text: That place, or the unit's place in each dimension, such as ``3,0,5``.
        shape: Shape of a row.

    Raises:
        ModelError: There is no such unit.
    """
    parts = text.split(",")
    if all(part.isascii() and part.isdigit() for part in parts):
        numbers = [int(part) for part in parts]
        if len(numbers) == 1 and numbers[0] < math.prod(shape):
            return numbers[0]
        inside = len(numbers) == len(shape) and all(map(int.__lt__, numbers, shape))
        if inside:
            return int(np.ravel_multi_index(numbers, shape))
    raise ModelError(
        f"unit {text!r}: the layer gives {math.prod(shape)} units per row, of shape {shape}; give "
        f"a number from 0, or one for each dimension"
    )


def _flat(values: NDArray[Any]) -> NDArray[np.float64]:
    return values.reshape(len(values), math.prod(values.shape[1:])).astype(np.float64)


def _nothing(queries: int) -> Found:
    return Found(np.empty((queries, 0), np.int64), np.empty((queries, 0)))


def _merged(best: Found, places: NDArray[np.int64], values: NDArray[np.float64], k: int) -> Found:
    """The ``k`` smallest values of both, with their rows."""
    numbers = np.broadcast_to(places, values.shape)
    numbers = np.concatenate([best.places, numbers], axis=1)
    joined = np.concatenate([best.values, values], axis=1)
    order = np.lexsort((numbers, joined), axis=1)[:, :k]
    return Found(np.take_along_axis(numbers, order, 1), np.take_along_axis(joined, order, 1))


def _finite(best: Found) -> Found:
    """Without columns in which no query has found anything."""
    there = np.isfinite(best.values).any(axis=0)
    return Found(best.places[:, there], best.values[:, there])
