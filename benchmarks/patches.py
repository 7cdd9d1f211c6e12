"""Bytes and time of patches: ``python -m benchmarks.patches``.

First the patches of 10⁶ weights on a grid, of which some have moved by a few steps. Then a chain of
releases: base, generalist and specialists for digits that are turned, which train on, wave by wave,
with Adam; each release becomes an exact copy and one on a grid, and all bytes of the patches count.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import zstandard
from safetensors.numpy import save

from shoal.deploy.copies import rounded_weights, write_copy
from shoal.formats.fitted_state import load_state, save_state
from shoal.formats.hashing import file_hash
from shoal.formats.json_file import write_json
from shoal.models import MLP
from shoal.settings.deploying import Grid
from shoal.training.model import load_weights, weights
from shoal_edge.folder import read_pool
from shoal_edge.patch import Patch, make, rebuilt, room, sha256

TURNS, WAVES = 4, 6


def steps() -> None:
    """Patches of 10⁶ weights."""
    rng, count = np.random.default_rng(0), 1_000_000
    before = (np.round(rng.normal(0, 0.1, count) * 64) / 64 + 0.0).astype(np.float32)
    for share in (0.02, 0.1, 0.2):
        moved = (rng.random(count) < share) * rng.choice([-1, 1], count) * rng.geometric(0.7, count)
        after = (before + moved / 64 + 0.0).astype(np.float32)
        pools = [_files(each) for each in (before, after)]
        patch, best = make(*pools), np.inf
        for _ in range(7):
            start = time.perf_counter()
            dict(rebuilt(Patch.parse(patch, room(4 * count)), pools[0].__getitem__))
            best = min(best, time.perf_counter() - start)
        times = np.unique(moved, return_counts=True)[1] / count
        ideal = -(times * np.log2(times)).sum() * count / 8
        plain = len(zstandard.compress(moved.astype(np.int8).tobytes(), 19))
        print(
            f"{share:.0%} move: {len(patch):,} bytes, ideal {ideal:,.0f}, "
            f"zstandard alone {plain:,}; read, rebuilt and checked in {1000 * best:.0f} ms"
        )


def _files(values: np.ndarray) -> dict[str, bytes]:
    files = {"specialists/0.safetensors": save({"w": values})}
    listed = {name: sha256(content) for name, content in files.items()}
    return files | {"manifest.json": json.dumps({"format": 4, "files": listed}).encode()}


def chain(seed: int, folder: Path) -> None:
    """Releases of a pool for digits that are turned by quarters."""
    from sklearn.datasets import load_digits

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    pictures, digits = load_digits(return_X_y=True)
    turn = rng.integers(0, TURNS, len(digits))
    turned = [np.rot90(p.reshape(8, 8), t).ravel() for p, t in zip(pictures, turn, strict=True)]
    x = torch.from_numpy(np.array(turned, np.float32) / 16)
    y = torch.from_numpy((digits + turn) % 10)
    order = rng.permutation(len(y))
    test, rest = order[:500], order[500:]
    first, *waves = np.array_split(rest, WAVES + 1)
    nets = {number: MLP(64, 10, 128, 2) for number in range(-1, TURNS)}
    seen = first
    for number, net in nets.items():
        _train(net, x, y, _own(seen, turn, number), 30)
    settings = Grid(method="grid", step=0.125, dead_zone=0.8, most_loss=0.005)
    last: dict[str, Path] = {}
    sizes: dict[str, list[float]] = {"exact": [], "grid": []}
    scores: dict[str, list[float]] = {"exact": [], "grid": [], "frozen": []}
    exponents: dict[str, dict[str, int]] = {}
    frozen = {number: weights(net) for number, net in nets.items()}
    for release, wave in enumerate([np.array([], int), *waves]):
        if len(wave):
            mix = rng.choice(seen, min(len(seen), 2 * len(wave)), replace=False)
            rows = np.concatenate([wave, mix])
            seen = np.concatenate([seen, wave])
            for number, net in nets.items():
                _train(net, x, y, _own(rows, turn, number), 5)
        pool = _pool(folder / f"pool-{release}", nets)
        names = {name: set(weights(nets[0])) for name in _names()}
        before = last.get("grid")
        made = rounded_weights(pool, names, settings, before, exponents, seed)
        tensors, exponents = made.weights, made.exponents
        for method, changed in (("exact", {}), ("grid", tensors)):
            copy = folder / f"{method}-{release}"
            raw = write_copy(pool, copy, changed)
            scores[method] += [_score(nets, copy, x, y, test, turn)] if len(wave) else []
            if method in last:
                patch = make(read_pool(last[method]), read_pool(copy))
                sizes[method].append(raw / len(patch))
            last[method] = copy
        if len(wave):
            scores["frozen"].append(_score_of(nets, frozen, x, y, test, turn))
    for method, own in sizes.items():
        told = f"1/{np.mean(own):.1f} of {raw:,} bytes a release"
        print(f"seed {seed}, {method}: {told}, accuracy {np.mean(scores[method]):.4f}")
    print(f"seed {seed}, frozen: accuracy {np.mean(scores['frozen']):.4f}")


def _own(rows: np.ndarray, turn: np.ndarray, number: int) -> np.ndarray:
    return rows if number < 0 else rows[turn[rows] == number]


def _train(net: MLP, x: torch.Tensor, y: torch.Tensor, rows: np.ndarray, passes: int) -> None:
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3)
    for _ in range(passes):
        for batch in torch.randperm(len(rows)).split(64):
            picked = rows[batch.numpy()]
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(net(x[picked]), y[picked]).backward()
            optimiser.step()


def _names() -> list[str]:
    return ["generalist.safetensors", *(f"specialists/{n}.safetensors" for n in range(TURNS))]


def _pool(folder: Path, nets: dict[int, MLP]) -> Path:
    """A folder with the files of a pool that patches are about."""
    for name, net in zip(_names(), nets.values(), strict=True):
        save_state(folder / name, weights(net), {"point": {"lr": 0.002}, "rows": 100})
    write_json(folder / "ledger.json", [])
    files = {name: file_hash(folder / name) for name in [*_names(), "ledger.json"]}
    write_json(folder / "manifest.json", {"format": 4, "files": files})
    return folder


def _score(nets: dict[int, MLP], copy: Path, *about: object) -> float:
    found = zip(nets, (load_state(copy / name)[0] for name in _names()), strict=True)
    return _score_of(nets, dict(found), *about)


def _score_of(nets, tensors, x, y, test, turn) -> float:  # noqa: ANN001 - as above
    """Accuracy of the specialists on test rows."""
    right = 0
    for number, net in nets.items():
        trained = weights(net)
        load_weights(net, tensors[number])
        rows = _own(test, turn, number) if number >= 0 else test[:0]
        with torch.no_grad():
            right += int((net(x[rows]).argmax(1) == y[rows]).sum()) if len(rows) else 0
        load_weights(net, trained)
    return right / len(test)


if __name__ == "__main__":
    torch.set_num_threads(1)
    steps()
    for number in range(3):
        with tempfile.TemporaryDirectory() as place:
            chain(number, Path(place))
