"""Pools of trained models for `benchmarks/pool_store.py`: fine-tuned, retrained, independent.

Every model is a fully connected net with ReLU that learns a sum of sines of its inputs, shifted
by an amount of its own, from rows of its own. Training is AdamW with Shoal's defaults but for the
rate (weight decay 0.01, batches of 64, half cosine to zero), all models of a pool side by side.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Stacked = dict[str, torch.Tensor]
"""Parameters of many models, each ``(models, …)``."""

ROWS = 256
"""Rows of each model's own data, unless its pool says otherwise."""
SHIFT = 0.5
NOISE = 0.1
BATCH = 64
BASE_BATCH = 256
BASE_RATE = 0.003
WEIGHT_DECAY = 0.01
_CHUNK = 500


@dataclass(frozen=True)
class Recipe:
    """How a pool is made.

    Attributes:
        sizes: Inputs, widths of the layers, outputs.
        models: Models in it.
        steps: Training steps of each.
        rate: Learning rate at the start.
        base_steps: Training steps of the base; none for independent models.
        chunk: Models that are trained side by side.
    """

    sizes: tuple[int, ...]
    models: int
    steps: int
    rate: float
    base_steps: int
    chunk: int = _CHUNK


SMALL = Recipe((4, 48, 48, 48, 1), 5000, 50, 0.001, 2000)
"""4,993 parameters, fine-tuned from one base."""
LARGE = Recipe((64, 960, 960, 1), 100, 20, 0.001, 200, chunk=20)
"""985,921 parameters, the same."""
INDEPENDENT = Recipe((4, 48, 48, 48, 1), 500, 50, 0.003, 0)
"""4,993 parameters, each from a start of its own."""


def initial(sizes: tuple[int, ...], generator: torch.Generator) -> Stacked:
    """One net's parameters as torch initialises linear layers."""
    parameters = {}
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        bound = 1 / math.sqrt(inputs)
        weight = torch.rand(outputs, inputs, generator=generator) * 2 - 1
        parameters[f"{layer}.weight"] = weight * bound
        parameters[f"{layer}.bias"] = (torch.rand(outputs, generator=generator) * 2 - 1) * bound
    return parameters


def forward(parameters: Stacked, x: torch.Tensor) -> torch.Tensor:
    """Outputs ``(models, rows, 1)`` for inputs ``(models, rows, inputs)``."""
    layers = len(parameters) // 2
    for layer in range(layers):
        weight = parameters[f"{layer}.weight"].transpose(-1, -2)
        x = x @ weight + parameters[f"{layer}.bias"].unsqueeze(-2)
        if layer < layers - 1:
            x = torch.relu(x)
    return x


def data(
    models: int, rows: int, inputs: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each model's own rows: ``(models, rows, inputs)`` and ``(models, rows, 1)``."""
    x = torch.randn(models, rows, inputs, generator=generator)
    shift = torch.randn(models, 1, inputs, generator=generator) * SHIFT
    frequency = torch.linspace(1, 2, inputs)
    noise = torch.randn(models, rows, 1, generator=generator)
    return x, torch.sin((x + shift) * frequency).sum(-1, keepdim=True) + NOISE * noise


def trained(
    start: Stacked,
    rows: tuple[torch.Tensor, torch.Tensor],
    steps: int,
    rate: float,
    batch: int,
    generator: torch.Generator,
    frozen: tuple[str, ...] = (),
) -> Stacked:
    """Parameters after training all models side by side; ``frozen`` layers stay."""
    parameters = {
        name: value.clone().requires_grad_(name.split(".")[0] not in frozen)
        for name, value in start.items()
    }
    moving = [value for value in parameters.values() if value.requires_grad]
    optimizer = torch.optim.AdamW(moving, lr=rate, weight_decay=WEIGHT_DECAY, foreach=True)
    x, y = rows
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / steps))
        chosen = torch.randint(x.shape[1], (batch,), generator=generator)
        error = forward(parameters, x[:, chosen]) - y[:, chosen]
        loss = (error**2).mean((1, 2)).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return {name: value.detach() for name, value in parameters.items()}


def fine_tuned(recipe: Recipe, seed: int = 0) -> tuple[Stacked, Stacked]:
    """A base, ``(1, …)``, and a pool of models that start from it."""
    generator = torch.Generator().manual_seed(seed)
    inputs = recipe.sizes[0]
    x, y = data(200, 500, inputs, generator)
    rows = x.reshape(1, -1, inputs), y.reshape(1, -1, 1)
    base = {name: v.unsqueeze(0) for name, v in initial(recipe.sizes, generator).items()}
    base = trained(base, rows, recipe.base_steps, BASE_RATE, BASE_BATCH, generator)
    parts = []
    for start in range(0, recipe.models, recipe.chunk):
        count = min(recipe.chunk, recipe.models - start)
        own = data(count, ROWS, inputs, generator)
        copies = {n: v.expand(count, *v.shape[1:]).contiguous() for n, v in base.items()}
        parts.append(trained(copies, own, recipe.steps, recipe.rate, BATCH, generator))
    return base, {name: torch.cat([part[name] for part in parts]) for name in base}


def independent(recipe: Recipe, seed: int = 2) -> Stacked:
    """A pool of models with a start of their own each."""
    generator = torch.Generator().manual_seed(seed)
    starts = [initial(recipe.sizes, generator) for _ in range(recipe.models)]
    stacked = {name: torch.stack([start[name] for start in starts]) for name in starts[0]}
    rows = data(recipe.models, ROWS, recipe.sizes[0], generator)
    return trained(stacked, rows, recipe.steps, recipe.rate, BATCH, generator)


def retrained(pool: Stacked, recipe: Recipe, share: float, seed: int = 1) -> Stacked:
    """The first models of a pool, trained on from themselves on rows that have changed.

    Half of them in full, and half in their last two layers.
    """
    generator = torch.Generator().manual_seed(seed)
    count = round(share * recipe.models)
    layers = [str(layer) for layer in range(len(pool) // 2)]
    parts = []
    for part, frozen in (
        (slice(0, count // 2), ()),
        (slice(count // 2, count), tuple(layers[:-2])),
    ):
        start = {name: value[part] for name, value in pool.items()}
        rows = data(len(start["0.bias"]), ROWS, recipe.sizes[0], generator)
        parts.append(trained(start, rows, recipe.steps, recipe.rate, BATCH, generator, frozen))
    return {name: torch.cat([part[name] for part in parts]) for name in pool}


def kept(path: Path, make: Callable[[], Stacked]) -> dict[str, np.ndarray]:
    """Arrays of a file, which is made first where it is missing."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = {name: value.numpy() for name, value in make().items()}
        aside = path.with_name(f"aside-{path.name}")
        np.savez(aside, allow_pickle=False, **made)
        aside.replace(path)
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}
