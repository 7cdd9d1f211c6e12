"""What the lean loop and lanes gain, each beside its rival in the same run.

    python -m benchmarks.speed_training
    python -m benchmarks.speed_training --only demo --old 1 --share 0.2

Four tables, of CPU seconds on one thread:

- ``demo``: specialists like the demo's (16 of 64 features, width 16, batches of 64) as a pack
  trains them, against Lightning with a trainer and a count of FLOPs for each, as it was;
- ``models``: networks narrow and wide, alone in the lean loop and as the rule of lanes has them;
- ``few``: 8 to 15 networks in one program, the fewest that there are;
- ``many``: 1,000 specialists of 10,015 parameters, 1,000 rows each, ten passes, in two processes;
  against a process for each with the lean loop and with Lightning, from as many as ``--old`` says.

Every weight that lanes give is compared with the lean loop's, bit for bit.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from shoal.training.determinism import VARIABLE, usual_kernels

os.environ.setdefault(VARIABLE, usual_kernels())

import numpy as np
import torch

from shoal.formats.fitted_state import save_state
from shoal.formats.ledger import Ledger
from shoal.formats.shapes import Shapes
from shoal.models import MLP, ConvNet
from shoal.settings.learning import Training
from shoal.training.batches import MemoryRows
from shoal.training.curve import LearningCurve
from shoal.training.determinism import deterministic
from shoal.training.fit import begin_on_rows
from shoal.training.flops import step_flops
from shoal.training.keep import Keep
from shoal.training.lanes import Lanes, most_lanes
from shoal.training.model import weights
from shoal.training.module import trainable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from shoal.training.lean import LeanRun
    from shoal.training.loop import Begun

FEW = (8, 10, 12, 15)
RATES = (0.001, 0.003)
MANY, MANY_ROWS, PASSES = 1000, 1000, 10
SHAPES = Shapes([1], 2, "classification", ["a", "b"], 1, ["x"], [])


class Setting(NamedTuple):
    """Models that are alike.

    Attributes:
        name: For the table.
        build: Makes one.
        shape: Of a row.
        batch: Rows per step.
        rows: Training rows of each.
        seen: Rows that each sees.
    """

    name: str
    build: Callable[[], torch.nn.Module]
    shape: tuple[int, ...]
    batch: int
    rows: int
    seen: int

    def arrays(self, number: int) -> dict[str, NDArray[Any]]:
        """Rows of one model."""
        rng = np.random.default_rng(number)
        x = rng.normal(size=(self.rows, *self.shape)).astype(np.float32)
        return {"x": x, "y": rng.integers(0, 10, self.rows)}

    def training(self, number: int) -> Training:
        """Settings of one model: every second one has another rate."""
        return Training(
            loss="auto",
            class_weights=None,
            lr=RATES[number % 2],
            weight_decay=0.01,
            epsilon=1e-8,
            batch_size=self.batch,
            rows_seen=1,
            schedule="cosine",
            warm_up=0.0,
            epochs=None,
            flops=None,
            patience=None,
            base_share=0.3,
            buffer_rows=1,
            seed=0,
        )

    def begun(self, number: int, costs: dict[Any, int]) -> tuple[Begun, torch.nn.Module]:
        """One model's training, and the model."""
        torch.manual_seed(0)
        net, ledger = self.build(), Ledger("benchmark")
        arrays, training = self.arrays(number), self.training(number)
        return begin_on_rows(
            net, arrays, training, SHAPES, self.seen, ledger, None, None, costs
        ), net


def by_lightning(setting: Setting, number: int) -> None:
    """Train one model as it was before: FLOPs counted, then a trainer of Lightning's."""
    from shoal.training.with_lightning import lightning_steps

    torch.manual_seed(0)
    module = trainable(setting.build(), setting.training(number), SHAPES)
    steps = -(-setting.seen // setting.batch)
    rows = MemoryRows(tuple(setting.arrays(number).values()), setting.batch, steps, 0)
    step_flops(module, next(iter(rows)))
    keep, curve = Keep(None, steps, None), LearningCurve("MLP", steps)
    lightning_steps(module, rows, steps, keep, curve, 1, None)


def alone(setting: Setting, number: int, costs: dict[Any, int]) -> torch.nn.Module:
    """Train one model in the lean loop."""
    begun, net = setting.begun(number, costs)
    begun.run()
    return net


def together(
    setting: Setting, numbers: Sequence[int], done: Callable[[int, torch.nn.Module], None]
) -> None:
    """Train models as a pack does."""
    costs: dict[Any, int] = {}
    begun: dict[LeanRun, tuple[int, torch.nn.Module]] = {}

    def line() -> Iterator[tuple[str, LeanRun]]:
        for number in numbers:
            training, net = setting.begun(number, costs)
            if training.lean is None:
                raise TypeError(f"{setting.name} does not train in the lean loop")
            begun[training.lean] = number, net
            yield "all", training.lean

    for run in Lanes().train(line()):
        done(*begun.pop(run))


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of something."""
    since = time.process_time()
    work()
    return time.process_time() - since


def differing(setting: Setting, count: int, found: dict[int, dict[str, Any]]) -> int:
    """Models whose weights in lanes are not those of the lean loop."""
    own = (weights(alone(setting, number, {})) for number in range(count))
    return sum(
        any((each[name] != found[number][name]).any() for name in each)
        for number, each in enumerate(own)
    )


def demo(old: int, share: float) -> None:
    """Compare a pack of specialists like the demo's with Lightning."""
    seen = round(share * 900_000 * 0.7 / 8)
    setting = Setting("demo", lambda: MLP(64, 10, 16, 2), (64,), 64, 630, seen)
    short = setting._replace(seen=20 * 64)
    by_lightning(short, 0)  # imports
    together(short, range(32), lambda *_: None)
    found: dict[int, dict[str, Any]] = {}

    def keep(number: int, net: torch.nn.Module) -> None:
        found[number] = weights(net)

    before = sum(seconds(partial(by_lightning, setting, n)) for n in range(old)) / old
    lean = sum(seconds(partial(alone, setting, n, {})) for n in range(old)) / old
    lanes = seconds(lambda: together(setting, range(16), keep)) / 16
    print(f"\ndemo: 16 specialists, {seen} rows each, thousand rows per CPU second")
    print(f"  Lightning {seen / before / 1e3:.0f}")
    print(f"  lean loop {seen / lean / 1e3:.0f}: {before / lean:.1f} times")
    print(f"  lanes     {seen / lanes / 1e3:.0f}: {before / lanes:.1f} times")
    print(f"  other bits than alone: {differing(setting, 16, found)} of 16")


MODELS = [
    ("MLP 64-16", lambda: MLP(64, 10, 16, 2), (64,), 64),
    ("MLP 64-16", lambda: MLP(64, 10, 16, 2), (64,), 256),
    ("MLP 64-16", lambda: MLP(64, 10, 16, 2), (64,), 1024),
    ("MLP 105-64", lambda: MLP(105, 10, 64, 2), (105,), 64),
    ("MLP 105-64", lambda: MLP(105, 10, 64, 2), (105,), 256),
    ("MLP 256-256", lambda: MLP(256, 10, 256, 2), (256,), 64),
    ("conv 8x8", lambda: ConvNet((8, 8), 10, 8), (8, 8), 64),
]


def models(share: float) -> None:
    """Compare lanes with the lean loop, and a lone model in each."""
    print("\nmodels: 32 of each, thousand rows per CPU second, all together")
    print("  model        batch lanes   alone    rule  times  lone")
    for name, build, shape, batch in MODELS:
        setting = Setting(name, build, shape, batch, 2000, max(2, round(share * 500)) * batch)
        short = setting._replace(seen=4 * batch)
        together(short, range(32), lambda *_: None)
        lean = setting.begun(0, {})[0].lean
        most = most_lanes(lean.module, batch) if lean else 0
        apart = 4 * sum(seconds(partial(alone, setting, n, {})) for n in range(8))
        rule = seconds(partial(together, setting, range(32), lambda *_: None))
        one = seconds(partial(alone, setting, 0, {}))
        lone = seconds(partial(together, setting, [0], lambda *_: None))
        rows = 32 * setting.seen / 1e3
        print(
            f"  {name:12} {batch:5} {most:5} {rows / apart:7.0f} {rows / rule:7.0f} "
            f"{apart / rule:6.2f} {one / lone:5.2f}"
        )


def few(share: float) -> None:
    """Compare the fewest models that share a program with the lean loop, in turn three times."""
    print("\nfew: in lanes, times the lean loop's rows per CPU second; median of three")
    print("  model        batch " + " ".join(f"{count:>5}" for count in FEW))
    for name, build, shape, batch in MODELS:
        setting = Setting(name, build, shape, batch, 2000, max(2, round(share * 500)) * batch)
        lean = setting.begun(0, {})[0].lean
        if lean is None or most_lanes(lean.module, batch) == 1:
            continue
        together(setting._replace(seen=4 * batch), range(max(FEW)), lambda *_: None)
        found = []
        for count in FEW:
            pairs = [
                (
                    sum(seconds(partial(alone, setting, n, {})) for n in range(count)),
                    seconds(partial(together, setting, range(count), lambda *_: None)),
                )
                for _ in range(3)
            ]
            found.append(statistics.median(apart / lanes for apart, lanes in pairs))
        print(f"  {name:12} {batch:5} " + " ".join(f"{times:5.2f}" for times in found))


MANY_SETTING = Setting("many", lambda: MLP(64, 10, 69, 2), (64,), 64, MANY_ROWS, PASSES * MANY_ROWS)


def child(method: str, numbers: Sequence[int], folder: Path) -> None:
    """Train in this process and write weights."""

    def write(number: int, net: torch.nn.Module) -> None:
        save_state(folder / f"{method}-{number}.safetensors", weights(net), {})

    deterministic(1)
    if method == "lanes":
        together(MANY_SETTING, numbers, write)
    for number in numbers if method != "lanes" else ():
        if method == "lean":
            write(number, alone(MANY_SETTING, number, {}))
        else:
            by_lightning(MANY_SETTING, number)


def many(old: int) -> None:
    """Compare 1,000 specialists in two processes with a process for each."""
    with tempfile.TemporaryDirectory() as name:
        lanes = _children("lanes", [range(0, MANY, 2), range(1, MANY, 2)], name)
        lean = _children("lean", [[number] for number in range(old)], name)
        before = _children("lightning", [[number] for number in range(old)], name)
        own, alike = Path(name), 0
        for number in range(old):
            files = [own / f"{method}-{number}.safetensors" for method in ("lanes", "lean")]
            alike += files[0].read_bytes() == files[1].read_bytes()
    print(f"\nmany: {MANY} specialists of 10,015 parameters, imports included")
    print(f"  lanes, two processes: {lanes[0]:.1f} s, {lanes[1]:.1f} CPU s")
    for title, (_, cpu) in (("lean loop", lean), ("Lightning", before)):
        all_of = cpu * MANY / old
        print(f"  a process each, {title}: {all_of:.0f} CPU s, {all_of / lanes[1]:.0f} times")
    print(f"  same files as alone: {alike} of {old}")


def _children(method: str, groups: Sequence[Sequence[int]], folder: str) -> tuple[float, float]:
    """Seconds and CPU seconds of processes, two at a time."""
    since, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for place in range(0, len(groups), 2):
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.speed_training", "--child", method, folder]
                + [str(number) for number in group],
                env=environment,
            )
            for group in groups[place : place + 2]
        ]
        for process in running:
            if process.wait():
                raise SystemExit(f"{method} failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - since, cpu


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("demo", "models", "few", "many"))
    parser.add_argument("--old", type=int, default=4, help="trainings of a rival that are timed")
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the steps of demo, models and few"
    )
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        method, folder, *numbers = chosen.child
        child(method, [int(number) for number in numbers], Path(folder))
        return
    deterministic(1)
    if chosen.only in (None, "demo"):
        demo(chosen.old, chosen.share)
    if chosen.only in (None, "models"):
        models(chosen.share)
    if chosen.only in (None, "few"):
        few(chosen.share)
    if chosen.only in (None, "many"):
        many(chosen.old)


if __name__ == "__main__":
    main()
