"""Trainings that end themselves by a signal, each in a process of its own."""

from __future__ import annotations

import os
import random
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numpy as np
import pytorch_lightning as pl
import torch

import shoal.training.curve
import shoal.training.lanes
from examples.housing_net import HousingNet
from shoal.embed.train import fit_neural
from shoal.formats.fitted_state import save_state
from shoal.formats.kinds import TRAIN, VALIDATION
from shoal.formats.ledger import Ledger
from shoal.formats.row_store import RowArray, write_rows
from shoal.formats.shapes import Shapes
from shoal.models import MLP
from shoal.partitions.held import HeldRows, HeldShards
from shoal.settings.discovery import SCARF, VICReg
from shoal.settings.learning import Training
from shoal.training.determinism import deterministic
from shoal.training.fit import begin_on_rows, train_on_rows, train_on_shards
from shoal.training.fixed import train_share
from shoal.training.lanes import Lanes
from shoal.training.model import weights
from shoal.training.processes import end_helpers
from shoal.training.resume import Checkpoints

if TYPE_CHECKING:
    from pathlib import Path

STEPS = 40
BATCH = 16
TRAINING = Training(
    loss="auto",
    class_weights=None,
    lr=0.01,
    weight_decay=0.1,
    epsilon=1e-8,
    batch_size=BATCH,
    rows_seen=1,
    schedule="cosine",
    warm_up=0.0,
    epochs=None,
    flops=None,
    patience=None,
    base_share=0.5,
    buffer_rows=BATCH,
    seed=0,
)
CLASSES = Shapes([4], 2, "classification", ["a", "b"], 1, [*"abcd"], [])
NUMBERS = Shapes([4], 1, "regression", None, 1, [*"abcd"], [])
OWN = Shapes([4], 0, "own", None, 1, [*"abcd"], [])
"""Facts of which trainings ask for task and classes alone."""
EARLY = TRAINING.model_copy(update={"patience": 2.0, "lr": 0.03, "schedule": "constant"})
EARLY_ENDS = 14
"""Steps that the early trainings do, two passes, as nothing that they learn helps."""
SCARF_SETTINGS = SCARF(
    method="scarf", dims=3, width=8, depth=2, projection=4, corruption=0.6, temperature=1,
    lr=0.01, batch_size=BATCH, rows_seen=STEPS * BATCH, prefix=None, seed=0,
)  # fmt: skip
VICREG_SETTINGS = VICReg(
    method="vicreg", dims=3, width=4, depth=1, projection=8, invariance=25, variance=25,
    covariance=1, shift=0.1, scale=0.1, noise=0.1, lr=0.01, batch_size=BATCH,
    rows_seen=STEPS * BATCH, prefix=None, seed=0,
)  # fmt: skip


class Plain(torch.nn.Sequential):
    """A plain module whose training draws random numbers and keeps running means."""

    def __init__(self) -> None:
        super().__init__(
            torch.nn.Linear(4, 8),
            torch.nn.BatchNorm1d(8),
            torch.nn.ReLU(),
            torch.nn.Dropout(0.3),
            torch.nn.Linear(8, 2),
        )


class Recurrent(torch.nn.Module):
    """Gated units over a row's numbers one by one, which their last state attends."""

    def __init__(self) -> None:
        super().__init__()
        self.units = torch.nn.LSTM(1, 6, batch_first=True)
        self.heads = torch.nn.MultiheadAttention(6, 2, dropout=0.1, batch_first=True)
        self.leave = torch.nn.Linear(6, 2)

    def forward(self, x):
        """Scores of both classes."""
        states, _ = self.units(x[:, :, None])
        attended, _ = self.heads(states[:, -1:], states, states, need_weights=False)
        return self.leave(attended[:, 0])


class Odd(pl.LightningModule):
    """Draws from every source of random numbers, and averages its weights after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters({"kind": object})
        self.net = MLP(4, 2, 8, 1)
        self.register_buffer("mean", torch.zeros(8, 4))

    def forward(self, x):
        """Logits."""
        return self.net(x)

    def training_step(self, batch, _):
        """Cross-entropy of noisy rows."""
        x, y = batch
        noise = torch.randn(x.shape) + random.random() + np.random.normal()  # noqa: NPY002
        return torch.nn.functional.cross_entropy(self.net(x + 0.1 * noise), y)

    def on_train_batch_end(self, *_):
        """Average weights."""
        first = next(self.net.parameters())
        self.mean.lerp_(first.detach(), 0.1 + 0.1 * random.random())

    def on_train_end(self):
        """Change weights once."""
        next(self.net.parameters()).data.add_(self.mean)

    def configure_optimizers(self):
        """Momentum, and a rate that falls in steps."""
        optimizer = torch.optim.SGD(self.parameters(), 0.1, momentum=0.9, nesterov=True)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [5, 10, 30])
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def table(count=101, kind="class"):
    x = np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)
    y = x[:, 0] * x[:, 1]
    return {"x": x, "y": y if kind == "number" else (y > 0).astype(np.int64)}


def held(count=60):
    """Rows whose labels are the opposite of what training rows teach."""
    rows = table(count)
    return HeldRows({"x": rows["x"], "y": 1 - rows["y"]})


def shards(folder, images=False, held=0):
    """Two shards that are more than a buffer; read in several blocks; some rows are held out."""
    paths = []
    for number in range(2):
        rows = 2500
        rng = np.random.default_rng(number)
        x = rng.normal(size=(rows, 6, 6) if images else (rows, 4)).astype(np.float32)
        y = (x.reshape(rows, -1)[:, 0] > 0).astype(np.int64)
        specs = {
            "x": RowArray(x.shape[1:], "float32"),
            "y": RowArray((), "int64"),
            "fold": RowArray((), "uint8"),
            "key": RowArray((16,), "uint8"),
        }
        fold = np.full(rows, TRAIN, np.uint8)
        fold[:held] = VALIDATION
        y[:held] = 1 - y[:held]
        key = rng.integers(0, 256, (rows, 16)).astype(np.uint8)
        paths.append(folder / f"{number}.zarr.zip")
        if not paths[-1].exists():
            write_rows(paths[-1], rows, specs, [{"x": x, "y": y, "fold": fold, "key": key}], {})
    return paths


def train(kind: str, folder: Path, ledger: Ledger, checkpoints: Checkpoints | None):
    """Weights after a training of ``STEPS`` steps."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    seen = STEPS * BATCH
    if kind in ("scarf", "vicreg"):
        settings = SCARF_SETTINGS if kind == "scarf" else VICREG_SETTINGS
        shape = (4,) if kind == "scarf" else (6, 6)
        paths = shards(folder, kind == "vicreg")
        return fit_neural(settings, paths, shape, ledger, checkpoints).state()[0]
    if kind in ("stream", "early stream"):
        net, settings, shapes = Plain(), TRAINING, CLASSES
        paths, stops = shards(folder), None
        if kind == "early stream":
            net = MLP(4, 2, 8, 1)  # the same on several devices, as it draws nothing
            settings = EARLY.model_copy(update={"batch_size": 30})
            paths = shards(folder, held=2400)
            stops = HeldShards(paths, 100)  # fewer than there are: read again at each look
            seen = 30 * STEPS
        train_on_shards(
            net, paths, settings, shapes, ledger, rows=seen, checkpoints=checkpoints, held=stops
        )
        end_helpers()
        return weights(net)
    if kind == "pair":
        nets, paths = [MLP(4, 2, 8, 1) for _ in range(2)], shards(folder)
        shapes = CLASSES
        for net in nets:
            train_on_shards(
                net, paths, TRAINING, shapes, ledger, rows=seen, checkpoints=checkpoints
            )
        end_helpers()
        return {f"{n}/{k}": v for n, net in enumerate(nets) for k, v in weights(net).items()}
    if kind == "several":
        nets = [Plain() for _ in range(3)]
        for net in nets:
            train_on_rows(net, table(), TRAINING, CLASSES, seen, ledger, checkpoints)
        return {f"{n}/{k}": v for n, net in enumerate(nets) for k, v in weights(net).items()}
    if kind == "housing":
        net = HousingNet(features=4, lr=0.01)
        train_on_rows(net, table(kind="number"), TRAINING, NUMBERS, seen, ledger, checkpoints)
        return weights(net)
    nets = {"memory": Plain, "odd": Odd, "recurrent": Recurrent, "early": Plain, "early odd": Odd}
    twice = {"twice": Plain, "early twice": Plain, "twice odd": Odd}
    net = (nets | twice)[kind]()
    settings = EARLY if kind.startswith("early") else TRAINING
    stops = held() if kind.startswith("early") else None
    shapes = CLASSES

    def whole(fixed):
        train_on_rows(
            net, table(), settings, shapes, seen, ledger, checkpoints, held=stops, fixed=fixed
        )

    if kind in twice:
        train_share(net, 0.1, whole)
    else:
        whole(None)
    return weights(net)


def in_lanes(_: str, folder: Path, ledger: Ledger, checkpoints: Checkpoints):
    """Weights of five models that step together, each with a checkpoint of its own."""
    shoal.training.lanes.FEWEST = 2
    settings = TRAINING.model_copy(update={"batch_size": 32})
    nets, begun, own = [MLP(4, 2, 8, 1) for _ in range(5)], [], []
    for number, net in enumerate(nets):
        rows = {name: array[number:] for name, array in table().items()}
        out = folder / f"{number}.safetensors"
        own.append(Checkpoints(out, checkpoints.seconds, ledger, {"number": number}))
        begun.append(
            begin_on_rows(
                net, rows, settings, CLASSES, 32 * (20 + number), ledger, own[-1], None, {}
            )
        )
    for run in Lanes().train(("kind", each.lean) for each in begun):
        assert run.failure is None
    for each, checkpoint in zip(begun, own, strict=True):
        each.close()
        checkpoint.remove()
    return {f"{n}/{k}": v for n, net in enumerate(nets) for k, v in weights(net).items()}


def attempt(kind: str, folder: Path, seconds: float, kill: tuple[int, int] | None) -> None:
    """Train; write ``out.safetensors``, ledger and log; get a signal after a step, if asked to."""
    mode = os.O_APPEND if "LOCAL_RANK" in os.environ else os.O_TRUNC
    os.dup2(os.open(folder / "log", os.O_WRONLY | os.O_CREAT | mode), 2)
    deterministic(1)
    if kill:
        _signal_after(*kill)
    ledger = Ledger("test")
    out = folder / "out.safetensors"
    checkpoints = Checkpoints(out, seconds, ledger, {"kind": kind})
    tensors = (in_lanes if kind == "lanes" else train)(kind, folder, ledger, checkpoints)
    ledger.write(folder / "ledger.json")
    save_state(out, tensors, {})
    checkpoints.remove()


def _signal_after(step: int, number: int) -> None:
    """Have this process get a signal when it has done so many steps, earlier attempts' counted."""
    original = shoal.training.curve.LearningCurve.add
    done = 0

    def counted(self, own, loss):
        nonlocal done
        original(self, own, loss)
        done = done + 1 if done else own
        if done == step:
            os.kill(os.getpid(), number)

    shoal.training.curve.LearningCurve.add = counted


def run_attempt(kind: str, folder: Path, seconds: float = 0, kill=None) -> int:
    """Exit code of an attempt in a process of its own, whose imports are paid once."""
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=attempt, args=(kind, folder, seconds, kill))
    process.start()
    process.join()
    return process.exitcode
