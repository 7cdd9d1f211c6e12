"""Three languages arrive later: growing against what else there is to do.

    python -m benchmarks.grow --data FOLDER [--seeds 2] [--dims 32] [--tolerance 0.05]

`mixed_text.parquet` as in `benchmarks.mixed_text`, from the data folder. Polish, Hungarian and
Turkish are not there when the pool is made, for a budget of F. Then they come. Costs in F, losses
in bits per byte of test rows of these languages and of all others:

- *before*: the pool as it was;
- *stale*: specialists of partitions that got new training rows are trained again: all, and where
  the new rows are more than the tolerance of the rows before;
- *grown*: `shoal cluster-grow`, specialists of the new partitions, and the stale ones among the
  others, where more than the tolerance of their rows is new;
- *refitted*: the whole pool from nothing on all rows;
- *generalist*: trained from nothing on all rows, the better of two widths on the new languages.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.mixed_text import Bench, Choices, Models, Tried, own_losses, read
from shoal.cluster.assigner import load_assigner
from shoal.cluster.grow_command import cluster_grow
from shoal.formats.fitted_state import save_state
from shoal.formats.hashing import KEY_BYTES, hash_rows
from shoal.formats.json_file import read_json
from shoal.formats.row_store import SOURCE, RowArray, write_rows
from shoal.formats.units import UNIT
from shoal.training.determinism import deterministic
from shoal.training.model import weights
from shoal_edge.routing import BASE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.mixed_text import Arrays, Data

LATER = ("lang_hu", "lang_pl", "lang_tr")
WIDTH, RATE, WIDTHS = 32, 0.012, (32, 64)
OUTSIDE = 3
HEAD = """\
| seed | what is done | cost, F | new languages | other text |
| --- | --- | --- | --- | --- |"""


class Arrival:
    """One seed: the pool of before, and what can be done when the languages come."""

    def __init__(self, data: Data, choices: Choices, seed: int) -> None:
        self.data = data
        self.is_new = np.isin(data.source, [data.sources.index(name) for name in LATER])
        fold = np.where(self.is_new, OUTSIDE, data.fold).astype(np.uint8)
        self.before = Bench(replace(data, fold=fold), choices)
        self.now = Bench(data, choices)
        self.of = Tried("pool", WIDTH, RATE, 1.0, seed)
        self.pool = self.before.trained(self.of)
        self.unit = self.now.unit_of_budget

    def bits(self, found: Models) -> tuple[float, float]:
        """Mean loss of test rows of the new languages, and of the others."""
        bits = own_losses(found, self.now.rows(found, "test"))
        new = self.is_new[self.data.places("test")]
        return float(bits[new].mean()), float(bits[~new].mean())

    def trained(
        self, partition: NDArray[np.int32], tolerance: float
    ) -> tuple[Models, float, list[int]]:
        """The pool with specialists for other partitions of the rows.

        Args:
            partition: Of every row.
            tolerance: Share of new rows, of a partition's rows before, up to which it waits.

        Returns:
            The pool, its cost in F, and the numbers of the partitions that were trained.
        """
        assert self.pool.budget is not None  # noqa: S101 - pools have one
        rows, start = self.now.train, weights(self.pool.experts[BASE])
        experts, cost, trained = dict(self.pool.experts), 0.0, []
        for number in range(int(partition.max()) + 1):
            own = rows[partition[rows] == number]
            came = int(self.is_new[own].sum())
            if came > tolerance * (len(own) - came):
                seen = self.pool.budget.specialist_rows(len(own))
                experts[number], spent = self.now.further(self.of, start, own, seen)
                cost += spent
                trained.append(number)
        return replace(self.pool, experts=experts, partition=partition), cost / self.unit, trained

    def grown(self) -> tuple[NDArray[np.int32], dict[str, float], float]:
        """Partition of every row after growing, what was found, and the cost in F."""
        data, pool = self.data, self.pool
        with tempfile.TemporaryDirectory() as folder:
            place = {name: Path(folder, name) for name in ("embedder", "before", "after", "ledger")}
            save_state(place["embedder"], *pool.embedder.state())
            pool.assigner.save(place["before"])
            stores = [Path(folder, "old.zarr.zip"), Path(folder, "new.zarr.zip")]
            for path, some in zip(stores, (~self.is_new, self.is_new), strict=True):
                x, key = data.x[some], data.key[some]
                source = hash_rows({"x": x}, KEY_BYTES)
                arrays: Arrays = {"x": x, "fold": data.fold[some], "key": key, SOURCE: source}
                arrays[UNIT] = data.unit[some]
                kinds = {name: RowArray(a.shape[1:], a.dtype.name) for name, a in arrays.items()}
                write_rows(path, len(x), kinds, [arrays], {"salt": "5a17" * 8})
            files = stores, place["embedder"], place["before"], [stores[0]], ["old"]
            settings = self.now.kmeans(self.of.seed)
            cluster_grow(settings, *files, place["after"], place["ledger"], 1)
            ledger, after = read_json(place["ledger"], dict), load_assigner(place["after"])
        routes = 2 * len(data.x[self.is_new]) * after.flops_per_row
        partition = after.assign(pool.embedding)
        return partition, ledger["detail"], (ledger["flops"] + routes) / self.unit

    def lines(self, tolerance: float) -> list[str]:
        """The table's lines of this seed."""
        lines = [self._line("before", 0.0, self.bits(self.pool))]
        for limit in (0.0, tolerance):
            stale, cost, trained = self.trained(self.pool.partition, limit)
            name = f"stale, more than {limit:.0%}: {len(trained)} of {self.first}"
            lines.append(self._line(name, cost, self.bits(stale)))
        partition, found, looking = self.grown()
        moved = int((partition != self.pool.partition)[self.before.train].sum())
        for limit in (0.0, tolerance):
            grown, cost, trained = self.trained(partition, limit)
            new = [number for number in trained if number >= self.first]
            name = (
                f"grown by {found['partitions']:.0f} for {found['rows']:.0f} rows, "
                f"{found['guards']:.0f} guards, {moved} old rows moved; "
                f"stale, more than {limit:.0%}: {len(trained) - len(new)}"
            )
            lines.append(self._line(name, cost + looking, self.bits(grown)))
        whole = self.now.trained(self.of)
        lines.append(self._line("refitted", whole.spent / self.unit, self.bits(whole)))
        every = [replace(self.of, kind="generalist", width=width) for width in WIDTHS]
        best = min((self.now.trained(each) for each in every), key=self.bits)
        lines.append(self._line("generalist", best.spent / self.unit, self.bits(best)))
        return lines

    @property
    def first(self) -> int:
        """Number of partitions before, and of the first new one."""
        return int(self.pool.assigner.partitions)

    def _line(self, name: str, cost: float, bits: tuple[float, float]) -> str:
        return f"| {self.of.seed} | {name} | {cost:.3f} | {bits[0]:.3f} | {bits[1]:.4f} |"


def main() -> None:
    """Train, grow and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of mixed_text.parquet")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--dims", type=int, default=32, help="of the embedding")
    parser.add_argument("--tolerance", type=float, default=0.05, help="changes.tolerance")
    asked = parser.parse_args()
    deterministic(1)
    choices = Choices(batch=4, partitions=16, base_share=0.3, dims=asked.dims)
    data = read(asked.data)
    print(HEAD)
    for seed in range(asked.seeds):
        for line in Arrival(data, choices, seed).lines(asked.tolerance):
            print(line, flush=True)


if __name__ == "__main__":
    main()
