"""What the model store saves, costs and withstands, against other ways to keep a pool.

    python -m benchmarks.pool_store --work FOLDER --out FOLDER

Trains the pools of `pool_store_models.py` (kept in the work folder), then measures each way to
keep them: bytes, seconds of saving and of recovering everything, and whether all bits came back.
Seconds are of the processor, the best of some repetitions: the machine may do other work. Then a
round in which a tenth is retrained, one model out of ever more, and injected faults. ZipNN and
z4ai take part where they are installed (`pip install shoal[benchmarks]`).
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from benchmarks.pool_store_faults import survived
from benchmarks.pool_store_models import (
    INDEPENDENT,
    LARGE,
    SMALL,
    Recipe,
    fine_tuned,
    independent,
    kept,
    retrained,
)
from benchmarks.pool_store_rivals import Model, Pool, Way, equal, flat, ways
from shoal.model_store import ModelStore
from shoal.model_store.backends import Folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.pool_store_models import Stacked
    from shoal.model_store.backends import Backend

PARTS = ("fine-tuned", "independent", "round", "large", "one", "faults")
ROUND_SHARE = 0.1
SIZES = (100, 1000, 10_000)
READS = 200


def main() -> None:
    """Run the parts that were asked for; a Parquet file each, and all as one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="trained pools are kept here")
    parser.add_argument("--out", type=Path, required=True, help="tables are written here")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--faults", type=int, default=10_000)
    asked = parser.parse_args()
    torch.set_num_threads(2)
    asked.out.mkdir(parents=True, exist_ok=True)
    for part in asked.parts:
        table = pd.DataFrame(_rows(part, asked))
        table.to_parquet(asked.out / f"{part}.parquet")
        print(f"\n{part}\n{table.round(3).to_string(index=False)}", flush=True)
    files = [asked.out / f"{part}.parquet" for part in PARTS]
    tables = [pd.read_parquet(path).assign(part=path.stem) for path in files if path.exists()]
    pd.concat(tables).to_parquet(asked.out / "pool_store.parquet")


def _rows(part: str, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of one part's table."""
    work: Path = asked.work
    if part == "independent":
        pool = _models(kept(work / "independent.npz", lambda: independent(INDEPENDENT)), "m")
        return _compared(ways(pool, None), pool, asked.repeat)
    if part == "large":
        base, stacked = _fine_tuned(work, "large", LARGE)
        return _compared(ways(pool := _models(stacked, "m"), base), pool, asked.repeat)
    base, stacked = _fine_tuned(work, "small", SMALL)
    pool = _models(stacked, "m")
    if part == "fine-tuned":
        return _compared(ways(pool, base), pool, asked.repeat)
    if part == "round":
        before = {name: torch.from_numpy(value) for name, value in stacked.items()}
        changed = kept(work / "round.npz", lambda: retrained(before, SMALL, ROUND_SHARE))
        return _round(pool, base, _models(changed, "r"))
    if part == "one":
        return [_one(pool, base, count) for count in SIZES]
    return survived(base, pool, asked.faults)


def _fine_tuned(work: Path, name: str, recipe: Recipe) -> tuple[Model, dict[str, np.ndarray]]:
    made: list[tuple[Stacked, Stacked]] = []

    def part(place: int) -> Stacked:
        if not made:
            made.append(fine_tuned(recipe))
        return made[0][place]

    base = kept(work / f"{name}-base.npz", lambda: part(0))
    pool = kept(work / f"{name}.npz", lambda: part(1))
    return {key: torch.from_numpy(value[0]) for key, value in base.items()}, pool


def _models(stacked: dict[str, np.ndarray], prefix: str) -> Pool:
    """A pool's models, each with tensors of its own."""
    count = len(next(iter(stacked.values())))
    return {
        f"{prefix}{n:05d}": {key: torch.from_numpy(v[n].copy()) for key, v in stacked.items()}
        for n in range(count)
    }


def _compared(found: list[Way], pool: Pool, repeat: int) -> list[dict[str, Any]]:
    """Each way's bytes and seconds; times against the first one's."""
    raw = len(flat(pool))
    rows: list[dict[str, Any]] = []
    for way in found:
        saves, loads, size, files, exact = [], [], 0, 0, True
        for _ in range(repeat):
            folder = Path(tempfile.mkdtemp(prefix="pool-store-"))
            saves.append(_seconds(partial(way.save, folder, pool))[0])
            seconds, back = _seconds(partial(way.load, folder, pool))
            loads.append(seconds)
            exact = exact and equal(back, pool)
            size = sum(path.stat().st_size for path in folder.iterdir())
            files = len(list(folder.iterdir()))
            shutil.rmtree(folder)
        rows.append(
            {
                "method": way.name,
                "MB": size / 1e6,
                "of raw": size / raw,
                "save s": min(saves),
                "recover s": min(loads),
                "files": files,
                "exact": exact,
            }
        )
        print(rows[-1], flush=True)
    for row in rows:
        row["save x"] = rows[0]["save s"] / row["save s"]
        row["recover x"] = rows[0]["recover s"] / row["recover s"]
    return rows


def _seconds(action: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of an action, the system's for it included, and what it returned."""
    start = time.process_time()
    result = action()
    return time.process_time() - start, result


def _round(pool: Pool, base: Model, changed: Pool) -> list[dict[str, Any]]:
    """Bytes that a round adds, against those of the layers that changed."""
    parents = {name: f"m{name[1:]}" for name in changed}
    layers = [
        (tensor, pool[parents[name]][key])
        for name, model in changed.items()
        for key, tensor in model.items()
        if not torch.equal(tensor, pool[parents[name]][key])
    ]
    now = b"".join(new.numpy().tobytes() for new, _ in layers)
    old = b"".join(old.numpy().tobytes() for _, old in layers)
    rows: list[dict[str, Any]] = [
        {"method": "changed layers, raw", "MB": len(now) / 1e6, "of changed": 1.0}
    ]
    try:
        import z4ai

        size = len(z4ai.compress_delta(now, old, dtype="fp32"))
        rows.append({"method": "changed layers, z4ai delta", "MB": size / 1e6})
    except ImportError:
        pass
    with tempfile.TemporaryDirectory() as folder:
        store = ModelStore(folder)
        store.save({"base": base, **pool}, base="base")
        before, files = _size(folder), len(list(Path(folder).iterdir()))
        seconds, _ = _seconds(partial(store.save, changed, base="base", parents=parents))
        again, back = _seconds(partial(_recovered, folder, changed))
        row = {"method": "Shoal", "MB": (_size(folder) - before) / 1e6}
        row |= {"save s": seconds, "recover s": again, "exact": equal(back, changed)}
        rows.append(row | {"files": len(list(Path(folder).iterdir())) - files})
    return [row | {"of changed": row["MB"] * 1e6 / len(now)} for row in rows]


def _recovered(where: str | Backend, models: Iterable[str]) -> Pool:
    """Models from a store that is opened for them."""
    return ModelStore(where).load_many(models, "torch")


def _size(folder: str) -> int:
    return sum(path.stat().st_size for path in Path(folder).iterdir())


class _Counting(Folder):
    """Counts the bytes that are read."""

    bytes_read = 0

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        content = super().read(name, start, stop)
        self.bytes_read += len(content)
        return content


def _one(pool: Pool, base: Model, count: int) -> dict[str, Any]:
    """One model out of many, from a store that is opened anew for each."""
    generator = torch.Generator().manual_seed(count)
    models = dict(list(pool.items())[:count])
    # Trained ones are 5,000; beyond, the same again with noise of the size of a small round.
    for name in list(pool)[: count - len(models)]:
        models[f"noisy-{name}"] = {
            key: t + 1e-3 * torch.randn(t.shape, generator=generator)
            for key, t in pool[name].items()
        }
    with tempfile.TemporaryDirectory() as folder:
        ModelStore(folder).save({"base": base, **models}, base="base")
        chosen = np.random.default_rng(0).choice(list(models), READS)
        walls, cpus, reads = [], [], []
        for name in ["base", *chosen.tolist()]:
            backend = _Counting(folder)
            wall = time.perf_counter()
            cpu, _ = _seconds(partial(_recovered, backend, [name]))
            walls.append(1e3 * (time.perf_counter() - wall))
            cpus.append(1e3 * cpu)
            reads.append(backend.bytes_read)
        row: dict[str, Any] = {"models": count}
        for label, values in (("wall ms", walls[1:]), ("cpu ms", cpus[1:])):
            row |= {f"{label} p50": np.median(values), f"{label} p99": np.quantile(values, 0.99)}
        return row | {"bytes read": int(np.median(reads[1:])), "raw bytes": len(flat({"b": base}))}


if __name__ == "__main__":
    main()
