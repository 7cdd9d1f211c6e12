"""Bytes, time and quality of patches.

    python -m benchmarks.patches --steps
    python -m benchmarks.patches --data FOLDER --work FOLDER [--seeds 1 2] [--only bike adult]
    python -m benchmarks.patches --data FOLDER --work FOLDER --few [--seeds 1 2]

``--steps`` makes patches of 10⁶ weights on a grid, of which some have moved by a few steps.

Otherwise the workflow, in this process, makes a release after each wave of a stream of
:mod:`benchmarks.continuous`, with specialists that continue. Of these pools channels are made with
several grids, and each copy answers the next wave, which no model has seen. Printed are the score,
mean over waves; by how much it is better than the exact copies', with a 95 % interval over seeds
(Student's t); and bytes of weights a release as a multiple of its patch's, of which everything
counts. Bytes of weights are those of specialists and generalist; the base does not move.

``--few`` changes a tenth of a pool's 30 specialists: rows come that three of them answer.
The working folder keeps what is done, so a run goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import zstandard
from safetensors.numpy import save

from benchmarks.auto import CHEAP, run
from benchmarks.continuous import EXPERIMENT, STREAMS, Feed, interval
from shoal.deploy.copies import rounded_weights, write_copy
from shoal.formats.fitted_state import load_state
from shoal.plan.plan import Plan
from shoal.pool.manifest import GENERALIST_FILE
from shoal.pool.pool import Pool
from shoal.settings.deploying import Grid
from shoal.sources.columns import typed_inputs
from shoal.sources.frames import raw_table
from shoal_edge.folder import read_pool
from shoal_edge.patch import Patch, make, rebuilt, room, sha256

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

EXACT = "exact"
CHANNELS: dict[str, tuple[float, float] | None] = {
    EXACT: None,
    "1/8, 0.6": (0.125, 0.6),
    "3/16, 0.6": (0.1875, 0.6),
    "1/2, 0.6": (0.5, 0.6),
    "1, 0.6": (1.0, 0.6),
    "1, 0.8": (1.0, 0.8),
    "1, 0.9": (1.0, 0.9),
}
"""Steps of grids, as a share of a tensor's root mean square, and dead zones."""
FEW = 3


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


def releases(folder: Path, feed: Feed, overrides: Sequence[str]) -> list[Path]:
    """Pools of all releases, one after each wave; those that are there are not made again."""
    pools = [folder / "pools" / f"{wave:02d}" for wave in range(len(feed.waves))]
    feed.set_up(folder)
    with contextlib.chdir(folder):
        for wave, pool in enumerate(pools):
            feed.add(Path(), wave)
            if not pool.exists():
                plan = Plan(EXPERIMENT, overrides, Path("config"))
                run(plan)
                shutil.copytree(plan.home / "pool", f"{pool}.part", symlinks=False)
                Path(f"{pool}.part").rename(pool)
    return pools


def chain(pools: Sequence[Path], folder: Path, channel: str) -> tuple[list[Path], list[int]]:
    """A channel's copies of pools, and the bytes of the patch to each but the first.

    Args:
        pools: Folders.
        folder: Of the copies, which are made anew.
        channel: Its name.
    """
    folder /= channel.replace("/", "-")
    shutil.rmtree(folder, ignore_errors=True)
    copies: list[Path] = []
    patches = []
    exponents: dict[str, dict[str, int]] = {}
    for pool in pools:
        changed = {}
        before = copies[-1] if copies else None
        if (grid := CHANNELS[channel]) is not None:
            step, dead_zone = grid
            settings = Grid(
                method="grid", step=step, dead_zone=dead_zone, train_on="trained", most_loss=1
            )
            names = {file: [*load_state(pool / file)[0]] for file in moving(pool)}
            made = rounded_weights(pool, names, settings, before, exponents, seed=0)
            changed, exponents = made.weights, made.exponents
        copies.append(folder / pool.name)
        write_copy(pool, copies[-1], changed)
        if before is not None:
            patches.append(len(make(read_pool(before), read_pool(copies[-1]))))
    return copies, patches


def moving(pool: Path) -> list[str]:
    """Files of the models that training moves."""
    specialists = sorted(f"specialists/{path.name}" for path in (pool / "specialists").iterdir())
    return [*([GENERALIST_FILE] if (pool / GENERALIST_FILE).exists() else []), *specialists]


def bytes_of_weights(pool: Path) -> int:
    """Of specialists and generalist."""
    tensors = (each for file in moving(pool) for each in load_state(pool / file)[0].values())
    return sum(values.nbytes for values in tensors)


def score(pool: Path, wave: dict[str, Any]) -> float:
    """Accuracy of a pool's answers, or their root mean squared error below 0."""
    frame = pd.DataFrame({name: list(cells) for name, cells in wave.items()})
    predicted = Pool.load(pool).predict(frame)["prediction"].to_pylist()
    label = frame["label"]
    if isinstance(predicted[0], str):
        return float(np.mean([str(a) == b for a, b in zip(label, predicted, strict=True)]))
    return -float(np.sqrt(np.mean((label - predicted) ** 2)))


def measured(folder: Path, feed: Feed, seed: int) -> dict[str, dict[str, float]]:
    """Score and share of the bytes of weights, for each channel."""
    kept = folder / "patches.json"
    if not kept.exists():
        own = [*CHEAP, f"seed={seed}", "continuing=proactive"]
        pools, found = releases(folder, feed, own), {}
        raw = np.mean([bytes_of_weights(pool) for pool in pools[1:]])
        for name in CHANNELS:
            copies, patches = chain(pools, folder / "copies", name)
            answered = zip(copies[:-1], feed.waves[1:], strict=True)
            scores = [score(copy, wave) for copy, wave in answered]
            facts = {"score": np.mean(scores), "raw": raw, "patch": np.mean(patches)}
            found[name] = {fact: float(value) for fact, value in facts.items()}
        kept.write_text(json.dumps(found))
        print(folder.name, kept.read_text(), flush=True)
    result: dict[str, dict[str, float]] = json.loads(kept.read_text())
    return result


HEAD = """\
| stream | step, dead zone | score | above exact | bytes of weights | of a patch | 1 / |
| --- | --- | --- | --- | --- | --- | --- |"""


def lines(name: str, found: Sequence[dict[str, dict[str, float]]]) -> list[str]:
    """The table's lines of a stream, of what each seed gave."""
    exact = np.array([each[EXACT]["score"] for each in found])
    result = []
    for channel in CHANNELS:
        own = {
            fact: np.array([each[channel][fact] for each in found])
            for fact in ("score", "raw", "patch")
        }
        cells = [
            name,
            channel,
            f"{own['score'].mean():.4f}",
            interval(own["score"] - exact),
            f"{own['raw'].mean():,.0f}",
            f"{own['patch'].mean():,.0f}",
            f"{own['raw'].mean() / own['patch'].mean():.1f}",
        ]
        result.append(f"| {' | '.join(cells)} |")
    return result


def partitions(pool: Pool, rows: dict[str, Any]) -> NDArray[np.int64]:
    """Partition of each row."""
    frame = pd.DataFrame({name: list(cells) for name, cells in rows.items()})
    raw = raw_table(frame, pool.columns, "rows")
    prepared = pool.prepare(typed_inputs(raw, pool.columns, "rows", 1), "rows", 1)
    return pool.router.assigner.place(prepared.embedding, prepared.values).partition


def few(folder: Path, data: Path, seed: int) -> None:
    """A patch after a tenth of the specialists has changed."""
    feed = Feed(STREAMS["turned"], data, seed)
    own = [*CHEAP, f"seed={seed}", "continuing=proactive", "cluster.partitions=30"]
    own += ["cluster.atoms=120", "changes.tolerance=0"]
    first, later = feed.waves[0], feed.waves[1:6]
    feed.waves = [first]
    (pool,) = releases(folder, feed, own)
    rows = {name: np.concatenate([wave[name] for wave in later]) for name in first}
    places = partitions(Pool.load(pool), rows)
    numbers, counts = np.unique(places, return_counts=True)
    taken = np.isin(places, numbers[np.argsort(-counts, kind="stable")[:FEW]])
    feed.waves.append({name: cells[taken][:300] for name, cells in rows.items()})
    pools = releases(folder, feed, own)
    raw = bytes_of_weights(pools[-1])
    moved = [f for f in moving(pools[-1]) if _weights_differ(pools, f)]
    print(f"seed {seed}: {len(moved)} of {len(moving(pools[-1]))} models move", end="")
    for name in CHANNELS:
        (patch,) = chain(pools, folder / "copies", name)[1]
        print(f"; {name}: {patch:,} bytes, 1/{raw / patch:.0f}", end="")
    print(flush=True)


def _weights_differ(pools: Sequence[Path], file: str) -> bool:
    old, new = (load_state(pool / file)[0] if (pool / file).exists() else {} for pool in pools)
    return old.keys() != new.keys() or any((old[name] != new[name]).any() for name in new)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", action="store_true")
    parser.add_argument("--few", action="store_true")
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--work", type=Path, help="experiments run here")
    parser.add_argument("--seeds", nargs="+", type=int, default=[*range(5)])
    parser.add_argument("--only", nargs="+", default=["turned", "bike", "adult"], choices=STREAMS)
    asked = parser.parse_args()
    if asked.steps:
        steps()
        return
    data, work = asked.data.absolute(), asked.work.absolute()
    if asked.few:
        for seed in asked.seeds:
            few(work / f"few-{seed}", data, seed)
        return
    table = [HEAD]
    for name in asked.only:
        found = [
            measured(work / f"{name}-{seed}", Feed(STREAMS[name], data, seed), seed)
            for seed in asked.seeds
        ]
        table += lines(name, found)
        print("\n".join(table), flush=True)


if __name__ == "__main__":
    main()
