"""Statistics of batch normalisation that belong to the weights which are deployed.

Those of training belong to other weights. A pass over training rows with the deployed weights gives
their own: the mean over blocks of rows, as training's would be without momentum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from shoal.formats import tables
from shoal.train_specialists.experts import GENERALIST
from shoal.training.model import load_weights, weights
from shoal.training.tasks import rules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from shoal.evaluate.prequential import Blocks
    from shoal.pool.pool import Pool

    Tensors = Mapping[str, NDArray[Any]]

ROWS = 2048
"""Training rows of a model, those with the smallest keys, that its statistics are taken over."""
_BLOCK = 256
_STATISTICS = ("running_mean", "running_var")


def recalibrated(
    pool: Pool, deployed: Mapping[int, Tensors], blocks: Blocks
) -> dict[int, dict[str, NDArray[Any]]]:
    """Statistics of the models that have some, by their numbers.

    Args:
        pool: The pool.
        deployed: Weights of each model that are others than in the pool.
        blocks: Training rows.
    """
    numbers = [n for n in deployed if _normalising(pool.experts.models[n])]
    if not numbers:
        return {}
    rows = _rows(pool, numbers, blocks)
    found: dict[int, dict[str, NDArray[Any]]] = {}
    for number in numbers:
        net = pool.experts.models[number]
        own = weights(net)
        load_weights(net, {**own, **deployed[number]})
        if number in rows and len(rows[number][0]) > 1:
            found[number] = _statistics(pool, net, *rows[number])
        load_weights(net, own)
    return found


def _normalising(net: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """Layers with running statistics, by name."""
    return {
        name: part
        for name, part in net.named_modules()
        if isinstance(getattr(part, "running_mean", None), torch.Tensor)
    }


def _rows(
    pool: Pool, numbers: list[int], blocks: Blocks
) -> dict[int, tuple[NDArray[Any], NDArray[Any]]]:
    """Rows and labels of each model: of its partition, or of all for the generalist."""
    found: dict[int, tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = {}
    for batch, (transformed, x, embedding, values) in blocks:
        keys = tables.keys(batch)
        y = pool.encoder.labels(transformed)
        partition = pool.router.assigner.place(embedding, values).partition
        for number in numbers:
            own = np.ones(len(x), bool) if number == GENERALIST else partition == number
            parts = (keys[own], x[own], y[own])
            if number in found:
                pairs = zip(found[number], parts, strict=True)
                key, mine, label = (np.concatenate(pair) for pair in pairs)
                parts = key, mine, label
            first = np.lexsort(parts[0].T[::-1])[:ROWS]
            found[number] = parts[0][first], parts[1][first], parts[2][first]
    return {number: (x, y) for number, (_, x, y) in found.items()}


def _statistics(
    pool: Pool, net: torch.nn.Module, x: NDArray[Any], y: NDArray[Any]
) -> dict[str, NDArray[Any]]:
    layers = _normalising(net)
    call = rules(pool.shapes.task).answer(net.eval())
    momenta = {name: part.momentum for name, part in layers.items()}
    for part in layers.values():
        part.reset_running_stats()  # type: ignore[operator]
        part.momentum = None  # type: ignore[assignment]
        part.train()
    with torch.no_grad():
        for start in range(0, len(x), _BLOCK):
            some = slice(start, start + _BLOCK)
            if len(x[some]) > 1:
                call(torch.from_numpy(x[some]), torch.from_numpy(np.asarray(y[some])))
    found = {
        f"{name}.{each}": getattr(part, each).numpy(force=True).copy()
        for name, part in layers.items()
        for each in _STATISTICS
    }
    for name, part in layers.items():
        part.momentum = momenta[name]
    net.eval()
    return found
