"""Sparse copies against grids: ``python -m benchmarks.sparse_copies --data FOLDER [--seeds 5]``.

One model continues from wave to wave of *bike* (hours of two years in order of time; error of the
logarithm of the count, in standard deviations of the first rows) or *images* (digits, then more and
more clothing; accuracy), a release a wave for six waves, with Adam. Each copy is made by the
channel's own functions, and scores the rows that arrive before any model has seen them. All bytes
of the patches count, as a share of the copy's files.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from benchmarks.continuous import STREAMS
from shoal.deploy.copies import RECORD, rounded_weights, save_residual, write_copy
from shoal.formats.fitted_state import load_state, save_state
from shoal.formats.hashing import file_hash
from shoal.formats.json_file import write_json
from shoal.models import MLP
from shoal.settings.deploying import Grid, Sparse
from shoal.training.fixed import Fixed
from shoal.training.model import load_weights, weights
from shoal_edge.folder import read_pool
from shoal_edge.patch import make

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = "specialists/0.safetensors"
PASSES, HISTORY, LR, BATCH, WAVES = 5, 1.2, 2e-3, 128, 6
Rows = tuple[torch.Tensor, torch.Tensor]


def grid(step: float, train_on: str = "trained", dead_zone: float = 0.6) -> Grid:
    """Settings of copies on a grid."""
    size = {"method": "grid", "step": step, "dead_zone": dead_zone}
    return Grid.model_validate({**size, "train_on": train_on, "most_loss": 1.0})


def sparse(density: float, train_on: str = "trained", choice: str = "top", bits: int = 8) -> Sparse:
    """Settings of sparse copies."""
    share = {"method": "sparse", "density": density, "choice": choice, "bits": bits}
    return Sparse.model_validate({**share, "train_on": train_on, "most_loss": 1.0})


@dataclass(frozen=True)
class Case:
    """A way to deploy.

    Attributes:
        name: In the table.
        settings: Of the copies; None where they are exact.
    """

    name: str
    settings: Grid | Sparse | None


CASES = [
    Case("exact", None),
    *(
        Case(f"grid of {step:g}, from {train_on}", grid(step, train_on))
        for step in (0.1875, 0.5)
        for train_on in ("trained", "deployed")
    ),
    Case("grid of 1, from trained", grid(1)),
    Case("grid of 1, dead zone 0.9, from trained", grid(1, dead_zone=0.9)),
    Case("grid of 0.5, nearest, from deployed", grid(0.5, "deployed", 0.5)),
    Case("top 3%, from trained", sparse(0.03)),
    Case("top 30%, from trained", sparse(0.3)),
    *(
        Case(f"top {density:.0%}, from {train_on}", sparse(density, train_on))
        for density in (0.01, 0.1)
        for train_on in ("trained", "deployed")
    ),
    Case("top 30%, from deployed", sparse(0.3, "deployed")),
    Case("random 10%, from deployed", sparse(0.1, "deployed", "random")),
    *(Case(f"mask {share:.0%}", sparse(share, "deployed", "mask")) for share in (0.03, 0.1)),
]


def waves_of(stream: str, data: Path, seed: int) -> list[Rows]:
    """Rows of the first release, and of each wave."""
    found = STREAMS[stream].waves(data, seed)[: WAVES + 1]
    if stream == "images":
        halved = [w["image"].reshape(-1, 14, 2, 14, 2).mean((2, 4)) / 255 for w in found]
        xs = [each.reshape(len(each), -1) for each in halved]
    else:
        names = [name for name in found[0] if name not in ("instant", "label")]
        frame = pd.concat([pd.DataFrame(wave)[names] for wave in found], ignore_index=True)
        x = pd.get_dummies(frame, dtype=np.float32).to_numpy(np.float32)
        xs = np.split(x, np.cumsum([len(wave["label"]) for wave in found])[:-1])
    ys = [np.asarray(wave["label"]) for wave in found]
    if stream == "images":
        ys = [y.astype(np.int64) for y in ys]
    else:
        ys = [((y - ys[0].mean()) / ys[0].std()).astype(np.float32) for y in ys]
    return [
        (torch.from_numpy(np.asarray(x, np.float32)), torch.from_numpy(y))
        for x, y in zip(xs, ys, strict=True)
    ]


def _loss(net: MLP, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    if y.dtype == torch.int64:
        return torch.nn.functional.cross_entropy(net(x), y)
    return torch.nn.functional.mse_loss(net(x)[:, 0], y)


def _train(net: MLP, rows: Rows, passes: int, seed: int, fixed: Fixed | None = None) -> None:
    """Train with Adam."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(net.parameters(), lr=LR, weight_decay=0, fused=True)
    steps = passes * math.ceil(len(rows[0]) / BATCH)
    slower = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: (1 + math.cos(math.pi * min(step, steps) / steps)) / 2
    )
    for _ in range(passes):
        for batch in torch.randperm(len(rows[0]), generator=generator).split(BATCH):
            optimiser.zero_grad()
            _loss(net, rows[0][batch], rows[1][batch]).backward()
            optimiser.step()
            slower.step()
            if fixed:
                fixed.put_back()


def _score(net: MLP, tensors: Mapping[str, Any], rows: Rows) -> float:
    trained = weights(net)
    load_weights(net, tensors)
    with torch.no_grad():
        if rows[1].dtype == torch.int64:
            found = float((net(rows[0]).argmax(1) == rows[1]).float().mean())
        else:
            found = float(((net(rows[0])[:, 0] - rows[1]) ** 2).mean().sqrt())
    load_weights(net, trained)
    return found


class Releases:
    """A channel of copies of one model in a folder, made by the channel's functions."""

    def __init__(self, folder: Path, settings: Grid | Sparse | None) -> None:
        self.folder, self.settings, self.count = folder, settings, 0
        self.copy: Path | None = None
        self.exponents: dict[str, dict[str, int]] = {}
        self.shares: list[float] = []
        self.moved: list[float] = []

    def add(self, net: MLP, trained_from: Path | None) -> dict[str, Any]:
        """Make the next copy; its weights."""
        pool, copy = (self.folder / f"{kind}{self.count}" / kind for kind in ("pool", "copy"))
        parent = {} if trained_from is None else {"parent": file_hash(trained_from)}
        save_state(pool / FILE, weights(net), {"point": {"lr": LR}, "rows": 100, **parent})
        write_json(pool / "ledger.json", [])
        files = {name: file_hash(pool / name) for name in (FILE, "ledger.json")}
        write_json(pool / "manifest.json", {"format": 4, "files": files})
        record = {"id": f"{self.count:010x}", "after": "", "manifest": "", "bytes": 0}
        record |= {"method": "", "reason": None, "scores": None, "exponents": {}}
        changed: Mapping[str, Any] = {}
        if self.settings is not None:
            names, before = {FILE: set(weights(net))}, self.copy
            made = rounded_weights(
                pool, names, self.settings, before, self.exponents, seed=self.count
            )
            changed, self.exponents = made.weights, made.exponents
            if self.settings.train_on == "deployed":
                record["residual"] = save_residual(copy, made.models, made.rest)
        raw = write_copy(pool, copy, changed)
        write_json(copy.with_name(RECORD), record)
        if self.copy is not None:
            self.shares.append(len(make(read_pool(self.copy), read_pool(copy))) / raw)
            one, two = (load_state(each / FILE)[0] for each in (self.copy, copy))
            moved = [(one[name] != two[name]).ravel() for name in one]
            self.moved.append(float(np.concatenate(moved).mean()))
        self.copy, self.count = copy, self.count + 1
        found: dict[str, Any] = load_state(copy / FILE)[0]
        return found


def run(stream: str, data: Path, seed: int, case: Case) -> tuple[float, float, float, float]:
    """Score on rows that arrived, that of the first copy, share of bytes, share that moved."""
    first, *waves = waves_of(stream, data, seed)
    torch.manual_seed(seed)
    rng, outputs = np.random.default_rng(seed), 20 if stream == "images" else 1
    net = MLP(first[0].shape[1], outputs, 128, 2)
    _train(net, first, 2 * PASSES, seed)
    frozen, seen = weights(net), first
    goes_on = getattr(case.settings, "train_on", "trained") == "deployed"
    arrived, old = [], []
    with tempfile.TemporaryDirectory() as place:
        releases = Releases(Path(place), case.settings)
        deployed = releases.add(net, None)
        for number, wave in enumerate(waves, 1):
            arrived.append(_score(net, deployed, wave))
            old.append(_score(net, frozen, wave))
            drawn = rng.choice(len(seen[0]), min(len(seen[0]), int(HISTORY * len(wave[0]))), False)
            rows = tuple(torch.cat([a, b[drawn]]) for a, b in zip(wave, seen, strict=True))
            seen = tuple(torch.cat(pair) for pair in zip(seen, wave, strict=True))
            start = None
            if goes_on and releases.copy is not None:
                start = releases.copy / FILE
                load_weights(net, deployed)
            before = [own.detach().clone() for own in net.parameters()]
            _train(net, rows, PASSES, 1000 * seed + number)
            if isinstance(case.settings, Sparse) and case.settings.choice == "mask":
                fixed = Fixed(list(net.parameters()), before, case.settings.density)
                load_weights(net, deployed)
                _train(net, rows, PASSES, 1000 * seed + number, fixed)
            deployed = releases.add(net, start)
        shares, moved = releases.shares, releases.moved
    means = (float(np.mean(each)) for each in (arrived, old, shares, moved))
    return tuple(means)  # type: ignore[return-value]


def main() -> None:
    """Print a table for each stream."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=["bike", "images"])
    parser.add_argument("--cases", nargs="+", default=[case.name for case in CASES])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for stream in asked.only:
        for case in (case for case in CASES if case.name in asked.cases):
            found = np.array([run(stream, asked.data, s, case) for s in range(asked.seeds)])
            score, old, share, moved = found.mean(0)
            spread = found[:, 0].std(ddof=1) if asked.seeds > 1 else 0
            print(
                f"{stream:7}{case.name:36} {score:.4f} ± {spread:.4f}, frozen {old:.4f}, "
                f"1/{1 / share:.1f} of the bytes, {moved:.1%} of the weights moved",
                flush=True,
            )


if __name__ == "__main__":
    main()
