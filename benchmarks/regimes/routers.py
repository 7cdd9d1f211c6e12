"""Which router sends rows to the right specialist: all of them on the same finished pools.

    python -m benchmarks.regimes.routers --out build/regimes --pool kmeans_16

Reads the cells of a benchmark that has run. Every router is fitted on the half of validation that
chooses no grid point, as the workflow does; the temperature of top 2 is chosen on the other half.
Printed, as means over the cells of a dataset: accuracy on the test rows at top 1 and top 2, with
the standard error over cells of its difference to the nearest atom's, and what routing costs.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.regimes.contenders import CONTENDERS, REFERENCE, overrides
from benchmarks.regimes.finished import Finished
from benchmarks.regimes.pools import layout_of
from shoal.formats.documents.index import PartitionIndex
from shoal.formats.json_file import read_json
from shoal.pool.pool import Pool
from shoal.settings.learning import Classifier, NearestAtom, NearestNeighbours
from shoal.terminal import leave
from shoal.train_router.fit import fit_router
from shoal.training.metrics import row_correct
from shoal.training.model import row_losses

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from shoal.train_router.router import Router

    Rows = Mapping[str, NDArray[Any]]

_COMMON = {"top_k": 1, "temperature": 1.0, "seed": 0}
_LEARNT = {"loss_temperature": 1.0, "fit_rows": 20000}
TEMPERATURES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Softness of the two weights, tried on validation."""


def candidates() -> dict[str, NearestAtom | NearestNeighbours | Classifier]:
    """Routers by name; ``w`` is the nearest atom's share of what a learnt one aims at."""
    found: dict[str, NearestAtom | NearestNeighbours | Classifier] = {}
    for quantile in (0.999, 1.0):
        common: dict[str, Any] = _COMMON | {"fallback_quantile": quantile}
        suffix = "" if quantile < 1 else ", no fallback"
        found["nearest_atom" + suffix] = NearestAtom(method="nearest_atom", **common)
    for weight in (0.0, 0.5, 0.9):
        learnt = common | _LEARNT | {"atom_weight": weight}
        found[f"knn, w {weight:g}"] = NearestNeighbours(method="knn", neighbours=15, **learnt)
        found[f"classifier, w {weight:g}"] = Classifier(method="classifier", penalty=1.0, **learnt)
    return found


@dataclass(frozen=True)
class Line:
    """One router in one cell.

    Attributes:
        top1: Accuracy with one specialist a row.
        top2: Accuracy with two, weighted at temperature 1.
        tuned: Accuracy with two, at the temperature that validation chose.
        temperature: The one chosen.
        flops: Routing one row.
    """

    top1: float
    top2: float
    tuned: float
    temperature: float
    flops: float


def main() -> None:
    """Fit, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build", "regimes"))
    parser.add_argument("--pool", choices=CONTENDERS, default=REFERENCE)
    options = parser.parse_args()
    tables: dict[str, list[dict[str, Line]]] = defaultdict(list)
    for cell, dataset, seed in cells(options.out, options.pool):
        tables[dataset].append(dict(lines(cell, overrides(options.pool, seed))))
    if not tables:
        leave([f"{options.out}: no cell has a finished classifier pool {options.pool}"])
    for dataset, found in tables.items():
        print(f"\n{dataset}, {options.pool}, {len(found)} seeds")
        print(f"{'router':26} {'top 1':>16} {'top 2':>16} {'tuned':>16} {'T':>10} {'FLOPs':>8}")
        for name in found[0]:
            print(_printed(name, found))


def cells(out: Path, pool: str) -> Iterator[tuple[Path, str, int]]:
    """Working folder, dataset and seed of the cells at budget 1 whose pool is of classifiers."""
    for path in sorted(out.glob(f"cells/*/1/*/pools/{pool}.json")):
        if read_json(path, dict[str, Any])["metric"] == "accuracy":
            cell = path.parents[1]
            yield cell, cell.parents[1].name, int(cell.name)


def lines(cell: Path, chosen: list[str]) -> Iterator[tuple[str, Line]]:
    """Every router's numbers in one cell."""
    run = Finished(cell, chosen, 0.0)
    layout = layout_of(cell, chosen)
    index = read_json(cell / layout.index, PartitionIndex)
    folder = (cell / layout.file("pool.manifest", index)).parent
    pool = Pool.load(folder, trust=run.shapes.trusted)
    trained = sorted(number for number in pool.experts.models if number >= 0)
    known = run.other_validation
    said = [pool.experts.answer(number, known["x"]) for number in trained]
    losses = np.stack([row_losses(each, known["y"], run.shapes.task) for each in said], axis=1)
    for name, settings in candidates().items():
        router = fit_router(
            settings,
            pool.router.assigner,
            trained,
            known["embedding"],
            known["partition"],
            losses,
        )
        yield name, _measured(router, pool, run)


def _measured(router: Router, pool: Pool, run: Finished) -> Line:
    from dataclasses import replace

    def answer(rows: Rows, k: int, temperature: float) -> NDArray[np.float32]:
        routes = replace(router, temperature=temperature).route(rows["embedding"], None, k)
        return pool.experts.mix(rows["x"], routes.experts, routes.weights)

    def accuracy(k: int, temperature: float) -> float:
        return float(row_correct(answer(run.test, k, temperature), run.test["y"]).mean())

    rows = run.validation
    lost = [row_losses(answer(rows, 2, t), rows["y"], run.shapes.task).mean() for t in TEMPERATURES]
    best = TEMPERATURES[int(np.argmin(lost))]
    return Line(accuracy(1, 1.0), accuracy(2, 1.0), accuracy(2, best), best, router.flops_per_row)


def _printed(name: str, found: list[dict[str, Line]]) -> str:
    """A line of the table."""
    texts = []
    for score in ("top1", "top2", "tuned"):
        own = np.array([getattr(lines[name], score) for lines in found])
        difference = own - np.array([lines["nearest_atom"].top1 for lines in found])
        error = difference.std(ddof=1) / np.sqrt(len(own)) if len(own) > 1 else np.nan
        texts.append(f"{own.mean():.3f} {difference.mean():+.3f}±{error:.3f}")
    temperatures = "/".join(f"{lines[name].temperature:g}" for lines in found)
    flops = np.mean([lines[name].flops for lines in found])
    return f"{name:26} {texts[0]} {texts[1]} {texts[2]} {temperatures:>10} {flops:8.0f}"


if __name__ == "__main__":
    main()
