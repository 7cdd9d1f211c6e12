"""What was measured in all cells, as tables: a line a cell and contender, and means over seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks.regimes.contenders import REFERENCE
from benchmarks.regimes.datasets import REGIMES
from benchmarks.regimes.numbers import agreement
from shoal.formats.json_file import read_json

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.regimes.contenders import Cell, Work

    Partition = dict[bytes, int]

GENERALIST = "generalist"
KINDS = {
    GENERALIST: "baseline",
    "random_partitions": "baseline",
    "constant": "baseline",
    "long_generalist": "orientation",
    "wide_network": "orientation",
    "boosted_trees": "orientation",
    "true_regime": "orientation",
    "routed_regime": "orientation",
}
"""What is no pool: at equal training FLOPs (``baseline``) or not (``orientation``)."""
_OF_METRICS = ("score", "log_loss", "calibration_error", "train_flops", "inference_flops_per_row")


class Measured:
    """Everything that was measured in one cell.

    Attributes:
        cell: The cell.
        metric: ``accuracy`` or ``rmse``.
        records: A line a contender.
        values: Per test row, by key: each contender's value, and under ``generalist of NAME``
            that of the generalist with a pool's own training FLOPs.
        partitions: Partition of every row of each pool.
    """

    def __init__(self, out: Path, cell: Cell, work: Work) -> None:
        """Read a cell's files."""
        self.cell = cell
        self.records: list[dict[str, Any]] = []
        self.partitions: dict[str, Partition] = {}
        self.metric = ""
        folder = out / cell.folder
        regimes = pd.read_parquet(folder / REGIMES)
        self._regimes: Partition = dict(zip(regimes["key"], regimes["regime"], strict=True))
        columns: dict[str, pd.Series[float]] = {}
        for name in work.contenders(cell):
            columns |= self._pool(folder, name)
        for name in work.baselines(cell):
            columns |= self._baseline(folder, name)
        self.values = pd.DataFrame(columns)
        if self.values.isna().any(axis=None):
            raise ValueError(f"{folder}: contenders were scored on different test rows")

    def _pool(self, folder: Path, name: str) -> dict[str, pd.Series[float]]:
        metrics = read_json(folder / "pools" / f"{name}.json", dict[str, Any])
        rows = pd.read_parquet(folder / "pools" / f"{name}.parquet")
        self.metric = metrics["metric"]
        self.partitions[name] = dict(zip(rows["key"], rows["partition"], strict=True))
        shared = {"partitions": metrics["partitions"], "verdict": metrics["verdict"]}
        if self._regimes:
            shared["ari"] = agreement(self.partitions[name], self._regimes)
        seconds = {key: metrics[key] for key in ("training_seconds", "workflow_seconds")}
        rivals = {
            name: "ungated",
            f"{name}, as shipped": "pool_top1",
            f"{name}, as shipped, top 2": "pool_top2",
        }
        for contender, rival in rivals.items():
            own = {"generalist": metrics[GENERALIST]["score"], **shared, **seconds}
            self._record(contender, "pool", metrics[rival], own)
        tested = by_row(rows[rows["fold"] == "test"])
        columns = {contender: tested[rival] for contender, rival in rivals.items()}
        for contender in rivals:
            columns[f"generalist of {contender}"] = tested[GENERALIST]
        if name == REFERENCE:
            for rival in (GENERALIST, "random_partitions", "constant"):
                self._record(rival, "baseline", metrics[rival], {})
                columns[rival] = tested[rival]
        return columns

    def _baseline(self, folder: Path, name: str) -> dict[str, pd.Series[float]]:
        numbers = read_json(folder / "baselines" / f"{name}.json", dict[str, Any])
        own = {key: numbers[key] for key in ("training_seconds", "note")}
        self._record(name, KINDS.get(name, "baseline"), numbers, own)
        rows = pd.read_parquet(folder / "baselines" / f"{name}.parquet")
        return {name: by_row(rows)["value"]}

    def _record(
        self, name: str, kind: str, numbers: dict[str, Any], further: dict[str, Any]
    ) -> None:
        worst = numbers["worst_partition"]
        taken = {key: numbers[key] for key in _OF_METRICS}
        own = {"contender": name, "kind": kind, "metric": self.metric, **taken, **further}
        own["worst_partition"] = worst["score"] if worst else np.nan
        self.records.append({**self.cell._asdict(), **own})


def by_row(table: pd.DataFrame) -> pd.DataFrame:
    """Indexed by key and, since equal rows have equal keys, by which of those a row is."""
    numbered = table.assign(copy=table.groupby("key").cumcount())
    return numbered.set_index(["key", "copy"])


def measured(out: Path, work: Work) -> list[Measured]:
    """Every cell of a run that has ended."""
    return [Measured(out, cell, work) for cell in work.cells]


def results(cells: list[Measured]) -> pd.DataFrame:
    """A line a dataset, budget, seed and contender."""
    return pd.DataFrame([record for cell in cells for record in cell.records])
