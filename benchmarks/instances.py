"""What instances that are adapted where they run cost to keep, against MMlib's three approaches.

    python -m benchmarks.instances --work FOLDER --out FILE [--instances 5000] [--rounds 5]

One net of 4,993 parameters is trained and copied to all instances. Each round a tenth of them
trains on rows of their own: half in full, half in the last two layers (the updates of "Efficient
Multi-Model Management", 2023). Once weights move freely, once on the grid of a copy
(``deploy=grid``): multiples of a power of two near an eighth of a tensor's root mean square.
"An ideal code" is what the differences from the state before take at least: of each weight's, by
steps of the grid or by bit patterns in the order of the numbers, sign and length by their entropy
over all that this weight did, which nobody has to tell, and the bits below the first as they are.

Seconds are of the processor, one thread. Every recovery is compared bit by bit, and the parameters
that MMlib's approaches have written with the papers' formulas. Writes a Parquet file and prints it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from benchmarks.instances_mmlib import WAYS, Model, Round, Way
from benchmarks.pool_store_models import (
    BASE_BATCH,
    BASE_RATE,
    BATCH,
    ROWS,
    SMALL,
    Stacked,
    data,
    initial,
    kept,
    trained,
)
from shoal.archive.instances import Instances, Returned

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SHARE = 0.1
LAST_LAYERS = ("2", "3")
DEAD_ZONE = 0.8  # steps
READS = 50


def base() -> Stacked:
    """The net that all begin from."""
    generator = torch.Generator().manual_seed(0)
    x, y = data(200, 500, SMALL.sizes[0], generator)
    rows = x.reshape(1, -1, SMALL.sizes[0]), y.reshape(1, -1, 1)
    start = {name: v.unsqueeze(0) for name, v in initial(SMALL.sizes, generator).items()}
    return trained(start, rows, SMALL.base_steps, BASE_RATE, BASE_BATCH, generator)


class Adaptation:
    """Local training of some instances.

    Args:
        start: The net that all begin from.
        on_grid: Whether weights are kept on a grid.
    """

    def __init__(self, start: Stacked, *, on_grid: bool) -> None:
        steps = {
            n: 2.0 ** round(np.log2(float(v.square().mean().sqrt()) / 8)) for n, v in start.items()
        }
        self.steps = steps if on_grid else {}
        self.start = {n: self._rounded(n, v) for n, v in start.items()}

    def _rounded(self, name: str, values: torch.Tensor) -> torch.Tensor:
        step = self.steps.get(name)
        return values if step is None else torch.round(values / step) * step + 0.0  # no -0

    def train(
        self, parts: list[tuple[list[int], tuple[str, ...], int]], models: list[Model]
    ) -> list[Model]:
        """All models after some were adapted: a part is instances, frozen layers, a seed."""
        after = list(models)
        for who, frozen, seed in parts:
            generator = torch.Generator().manual_seed(seed)
            start = {name: torch.stack([models[i][name] for i in who]) for name in models[0]}
            rows = data(len(who), ROWS, SMALL.sizes[0], generator)
            found = trained(start, rows, SMALL.steps, SMALL.rate, BATCH, generator, frozen)
            for name, step in self.steps.items():
                way = (found[name] - start[name]) / step
                moves = torch.trunc(way + torch.sign(way) * (1 - DEAD_ZONE))
                found[name] = start[name] + moves * step
            for place, i in enumerate(who):
                after[i] = {name: values[place].clone() for name, values in found.items()}
        return after


def rounds(adaptation: Adaptation, instances: int, count: int) -> list[Round]:
    """The first round, in which all are alike, and those in which some are adapted."""
    first = {name: values[0] for name, values in adaptation.start.items()}
    models = [dict(first) for _ in range(instances)]
    found = [Round(models, {}, list)]
    rng = np.random.default_rng(1)
    layers = sorted({name.partition(".")[0] for name in first})
    frozen = tuple(layer for layer in layers if layer not in LAST_LAYERS)
    for number in range(1, count + 1):
        who = rng.permutation(instances)[: round(SHARE * instances)].tolist()
        half = len(who) // 2
        parts = [(who[:half], (), 2 * number), (who[half:], frozen, 2 * number + 1)]
        train = partial(adaptation.train, parts)
        before, models = models, train(models)
        changed = {
            i: names
            for i in who
            if (names := [n for n in first if not _same(before[i][n], models[i][n])])
        }
        found.append(Round(models, changed, train))
    return found


class Shoal(Way):
    """States of instances in a model store."""

    name = "Shoal"

    def save(self, number: int) -> None:
        """Keep what a round did."""
        each, instances = self.rounds[number], Instances(self.folder)
        if not number:
            tensors = {n: t.numpy() for n, t in each.models[0].items()}
            instances.save({"copy": Returned(tensors, "snapshot", 0)})
            return
        last = {state.instance: state.id for state in instances.states}
        instances.save(
            {
                f"i{i}": Returned(
                    {name: tensor.numpy() for name, tensor in each.models[i].items()},
                    "patch",
                    0,
                    last.get(f"i{i}", last["copy"]),
                )
                for i in each.changed
            }
        )

    def _ids(self, number: int) -> list[str]:
        """Ids of the states after a round."""
        counts = [0] * len(self.rounds[0].models)
        for each in self.rounds[1 : number + 1]:
            for i in each.changed:
                counts[i] += 1
        return [f"i{i}@{count}" if count else "copy@1" for i, count in enumerate(counts)]

    def predicted(self) -> int:
        """No formula."""
        return self.parameters

    def recover(self, number: int) -> list[Model]:
        """All models after a round."""
        ids = self._ids(number)
        found = Instances(self.folder).store.load_many(ids, "torch")
        copy = found["copy@1"]
        return [{n: t.clone() for n, t in copy.items()} if i == "copy@1" else found[i] for i in ids]

    def one(self, number: int, instance: int) -> Model:
        """One model after a round."""
        return Instances(self.folder).store.load(self._ids(number)[instance], "torch")


class ShoalOpen(Shoal):
    """The same by a process that goes on, as a server does."""

    name = "Shoal, kept open"

    @cached_property
    def _open(self) -> Instances:
        return Instances(self.folder)

    def one(self, number: int, instance: int) -> Model:
        """One model after a round."""
        return self._open.store.load(self._ids(number)[instance], "torch")


def ideal(made: list[Round], steps: dict[str, float]) -> float:
    """Bytes a round that an ideal code of the differences takes.

    Args:
        made: The rounds.
        steps: Of the grid, by tensor, where there is one.
    """
    bits = 0.0
    for name in made[0].models[0]:
        pairs = [
            (before.models[i][name], after.models[i][name])
            for before, after in pairwise(made)
            for i, names in after.changed.items()
            if name in names
        ]
        if not pairs:
            continue
        old, new = (torch.stack(each).flatten(1).numpy() for each in zip(*pairs, strict=True))
        if name in steps:
            moves = np.rint((new - old) / steps[name]).astype(np.int64)
        else:
            moves = _ordered(new) - _ordered(old)
        length = np.frexp(np.abs(moves).astype(np.float64))[1]
        bits += float(np.maximum(length - 1, 0).sum())
        kinds = length * np.sign(moves)
        for kind in np.unique(kinds):
            share = (kinds == kind).mean(axis=0)
            bits -= len(pairs) * float((share * np.log2(np.maximum(share, 1e-300))).sum())
    return bits / 8 / (len(made) - 1)


def _ordered(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Bit patterns as integers in the order of the numbers."""
    patterns = np.ascontiguousarray(values).view(np.int32).astype(np.int64)
    return np.where(patterns < 0, -(patterns & 0x7FFFFFFF), patterns)


def measured(way: type[Way], made: list[Round]) -> dict[str, Any]:
    """Bytes and seconds of a way, whose recoveries must be exact."""
    with tempfile.TemporaryDirectory(prefix="instances-") as folder:
        kept_by = way(Path(folder), made)
        first = _seconds(partial(kept_by.save, 0))[0]
        bytes_first = _size(folder)
        saves = [_seconds(partial(kept_by.save, n))[0] for n in range(1, len(made))]
        again, back = _seconds(partial(kept_by.recover, len(made) - 1))
        exact = all(_equal(a, b) for a, b in zip(back, made[-1].models, strict=True))
        rng = np.random.default_rng(2)
        ones = []
        for number in rng.integers(1, len(made), READS).tolist() if way.one is not Way.one else ():
            instance = int(rng.choice(list(made[number].changed)))
            seconds, model = _seconds(partial(kept_by.one, number, instance))
            ones.append(seconds)
            exact &= _equal(model, made[number].models[instance])
        if kept_by.parameters != kept_by.predicted():
            raise SystemExit(f"{way.name}: {kept_by.parameters} bytes, not {kept_by.predicted()}")
        return {
            "way": way.name,
            "MB, first": bytes_first / 1e6,
            "MB, a round": (_size(folder) - bytes_first) / 1e6 / len(saves),
            "save s, first": first,
            "save s, a round": float(np.median(saves)),
            "recover all s": again,
            "recover one ms": 1e3 * float(np.median(ones)) if ones else 1e3 * again,
            "exact": exact,
        }


def _same(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether all bits are the same; 0 equals -0 otherwise."""
    return torch.equal(first.view(torch.int32), second.view(torch.int32))


def _equal(first: Model, second: Model) -> bool:
    return all(_same(first[name], second[name]) for name in second)


def _seconds(action: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = action()
    return time.process_time() - start, result


def _size(folder: str) -> int:
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def main() -> None:
    """Measure every way on both kinds of adaptation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="the trained net is kept here")
    parser.add_argument("--out", type=Path, required=True, help="a Parquet file to write")
    parser.add_argument("--instances", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    start = {n: torch.from_numpy(v) for n, v in kept(asked.work / "base.npz", base).items()}
    rows = []
    for weights, on_grid in (("free", False), ("on a grid", True)):
        adaptation = Adaptation(start, on_grid=on_grid)
        made = rounds(adaptation, asked.instances, asked.rounds)
        least = ideal(made, adaptation.steps) / 1e6
        rows.append({"weights": weights, "way": "an ideal code", "MB, a round": least})
        print(rows[-1], flush=True)
        for way in (*WAYS, Shoal, ShoalOpen):
            rows.append({"weights": weights, **measured(way, made)})
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    table.to_parquet(asked.out)
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
