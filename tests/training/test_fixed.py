"""Trainings of a share of a model's weights."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from shoal.formats.ledger import Ledger
from shoal.partitions.held import HeldRows
from shoal.training.determinism import deterministic
from shoal.training.fit import train_on_rows
from shoal.training.fixed import train_share
from shoal.training.resume import Checkpoints
from tests.trainings import (
    BATCH,
    CLASSES,
    EARLY,
    STEPS,
    TRAINING,
    Odd,
    Plain,
    Recurrent,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SHARE = 0.1
SEEN = STEPS * BATCH


def seeded(kind: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """A module, and draws, as at the start of a job."""
    deterministic(1)
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    return kind()


def parameters(model: torch.nn.Module) -> np.ndarray:
    """All trained weights, one after the other."""
    return np.concatenate([own.detach().numpy().ravel() for own in model.parameters()])


@pytest.mark.parametrize("settings", [TRAINING, EARLY], ids=["whole", "early"])
@pytest.mark.parametrize("kind", [Plain, Recurrent, Odd])
def test_what_an_ordinary_training_moves_most_moves_alone(kind, settings, tmp_path: Path):
    """Nothing else does, by decay neither; the ledger has both trainings."""
    start, once, twice = parameters(seeded(kind)), Ledger("once"), Ledger("twice")
    stops = None if settings is TRAINING else HeldRows(table(60))
    ordinary = seeded(kind)
    train_on_rows(ordinary, table(), settings, CLASSES, SEEN, once, held=stops)
    distances = np.abs(parameters(ordinary).astype(float) - start)

    model, checkpoints = seeded(kind), Checkpoints(tmp_path / "out.safetensors", 1e9, twice, {})
    train_share(
        model,
        SHARE,
        lambda fixed: train_on_rows(
            model, table(), settings, CLASSES, SEEN, twice, checkpoints, held=stops, fixed=fixed
        ),
    )

    moved = parameters(model) != start
    count = math.ceil(SHARE * len(start))
    assert 0 < moved.sum() <= count
    assert distances[moved].min() >= np.sort(distances)[-count]
    assert twice.rows_seen > once.rows_seen
    assert len(twice.learning_curves) == 2
    if settings is TRAINING:
        assert twice.flops == 2 * once.flops


def test_what_moves_makes_up_for_the_rest():
    """The loss is lower than that of the trained weights with all but the same ones put back."""
    rows, start = table(400), seeded(Plain)
    ordinary = seeded(Plain)
    train_on_rows(ordinary, rows, TRAINING, CLASSES, 8 * SEEN, Ledger("once"))
    before = parameters(start)
    distances = np.abs(parameters(ordinary) - before)
    least = np.sort(distances)[-math.ceil(SHARE * len(before))]
    place = 0
    with torch.no_grad():
        for own, old in zip(ordinary.parameters(), start.parameters(), strict=True):
            far = torch.from_numpy(distances[place : place + own.numel()] >= least).view_as(own)
            own.copy_(torch.where(far, own, old))
            place += own.numel()

    model, ledger = seeded(Plain), Ledger("twice")
    train_share(
        model,
        SHARE,
        lambda fixed: train_on_rows(model, rows, TRAINING, CLASSES, 8 * SEEN, ledger, fixed=fixed),
    )

    assert loss(model, rows) < loss(ordinary, rows)


def loss(model: torch.nn.Module, rows: dict[str, np.ndarray]) -> float:
    """Mean cross-entropy, by the statistics of the rows."""
    model.train()
    model[3].p = 0.0
    with torch.no_grad():
        output = model(torch.from_numpy(rows["x"]))
    return float(torch.nn.functional.cross_entropy(output, torch.from_numpy(rows["y"])))
