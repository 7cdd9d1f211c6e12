"""Training of embedders that are networks, on the training fold, without labels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from shoal.embed.embedder import seen_shape
from shoal.embed.neural import Architecture, NeuralEmbedder
from shoal.embed.rows import sample_rows, training_rows
from shoal.errors import DataError, SettingsError
from shoal.training.batches import RowStream
from shoal.training.flops import forward_flops, step_flops
from shoal.training.loop import run_steps
from shoal.training.processes import end_helpers, visible_devices

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pytorch_lightning as pl
    from numpy.typing import NDArray
    from torch import nn

    from shoal.formats.ledger import Ledger
    from shoal.settings.discovery import SCARF, VICReg
    from shoal.training.resume import Checkpoints

BUFFER_BYTES = 128 * 2**20
"""Rows held in memory while streaming, all together."""

MARGINAL_ROWS = 4096
"""Training rows, at most, that stand for SCARF's empirical marginals."""


def fit_neural(
    settings: SCARF | VICReg,
    paths: Sequence[Path],
    x_shape: Sequence[int],
    ledger: Ledger,
    checkpoints: Checkpoints | None = None,
) -> NeuralEmbedder:
    """Train an encoder by SCARF or VICReg, then measure the mean and scale of its output.

    Raises:
        SettingsError: VICReg is asked to embed rows that are no images; or the batch is one row.
        DataError: The training fold has fewer than two rows.
        ModelError: The loss is not finite.
    """
    if settings.method == "vicreg" and len(x_shape) not in (2, 3):
        raise SettingsError(
            f"embed.method: 'vicreg' is for images, but encoded rows have shape "
            f"{tuple(x_shape)}; choose 'scarf' for tables"
        )
    if settings.batch_size < 2:
        raise SettingsError("embed.batch_size: rows are told from each other, so 2 or more, not 1")
    sizes = (settings.dims, settings.width, settings.depth, settings.prefix)
    architecture = Architecture(settings.method, tuple(x_shape), *sizes)
    encoder = _train(settings, architecture, paths, ledger, checkpoints)
    return _standardised(architecture, encoder, paths, ledger)


class _Seen(RowStream):
    """Batches of what is seen of rows."""

    prefix: int | None = None

    def _read(self, shard: int, start: int) -> tuple[NDArray[Any], ...]:
        return tuple(rows[:, : self.prefix] for rows in super()._read(shard, start))


def _train(
    settings: SCARF | VICReg,
    architecture: Architecture,
    paths: Sequence[Path],
    ledger: Ledger,
    checkpoints: Checkpoints | None,
) -> nn.Module:
    """A trained encoder."""
    seen = seen_shape(architecture.x_shape, architecture.prefix)
    buffer_rows = max(settings.batch_size, BUFFER_BYTES // (4 * math.prod(seen)))
    stream = _Seen(paths, ("x",), settings.batch_size, 1, buffer_rows, settings.seed)
    stream.prefix = architecture.prefix
    if stream.training_rows < 2:
        raise DataError(
            f"embed: {settings.method} needs two rows or more, but the training fold has "
            f"{stream.training_rows}"
        )
    stream.steps = max(1, math.ceil(settings.rows_seen / stream.batch_size))
    encoder, module = _network(settings, architecture, paths, ledger)
    batch = torch.zeros(stream.batch_size, *seen)
    training = stream.steps * step_flops(module, (batch,))
    run_steps(module, stream, stream.steps, checkpoints, visible_devices())
    end_helpers()
    stream.close()
    ledger.rows_seen += stream.steps * stream.batch_size
    ledger.rows_read += stream.training_rows
    ledger.flops += training
    return encoder


def _network(
    settings: SCARF | VICReg, architecture: Architecture, paths: Sequence[Path], ledger: Ledger
) -> tuple[nn.Module, pl.LightningModule]:
    """An encoder and what trains it, with weights drawn from the seed."""
    from shoal.embed.self_supervised import ScarfModule, VicregModule

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        encoder = architecture.build()
        if settings.method == "vicreg":
            return encoder, VicregModule(encoder, settings)
        draw = (MARGINAL_ROWS, settings.seed, "scarf marginals")
        marginals = sample_rows(paths, *draw, ledger, architecture.prefix)
        flat = torch.from_numpy(marginals.reshape(len(marginals), -1))
        return encoder, ScarfModule(encoder, flat, settings)


def _standardised(
    architecture: Architecture, encoder: nn.Module, paths: Sequence[Path], ledger: Ledger
) -> NeuralEmbedder:
    """The encoder with the mean and scale of its output over the training fold.

    No FLOPs: the router's ledger counts that every row passes the encoder, once.
    """
    from sklearn.preprocessing import StandardScaler

    dims = architecture.dims
    zero, one = np.zeros(dims, np.float32), np.ones(dims, np.float32)
    seen = seen_shape(architecture.x_shape, architecture.prefix)
    flops_per_row = forward_flops(encoder, torch.zeros(1, *seen))
    raw = NeuralEmbedder(architecture, encoder, zero, one, flops_per_row)
    scaler = StandardScaler()
    for block in training_rows(paths, ("x",), ledger):
        scaler.partial_fit(raw.embed(block["x"]).astype(np.float64))
    mean, scale = scaler.mean_.astype(np.float32), scaler.scale_.astype(np.float32)
    return NeuralEmbedder(architecture, encoder, mean, scale, flops_per_row)
