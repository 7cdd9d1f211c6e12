"""The files that each job records as what its artifacts are made from, by the layout alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from shoal.plan.jobs import Job
    from shoal.plan.layout import Layout
    from shoal.plan.slots import Slots


def recorded_inputs(layout: Layout, job: Job, index: Mapping[str, Any]) -> list[Path] | None:
    """Files whose hashes the job's artifacts carry, source files aside.

    Args:
        layout: The experiment's layout.
        job: One of its jobs.
        index: The partition index; jobs before it ask nothing of it.

    Returns:
        The files; None for jobs of the generation, whose inputs are frozen with it.
    """
    inputs = _INPUTS.get(job.rule)
    return None if inputs is None else inputs(_Inputs(layout, job, index))


def pool_state(layout: Layout, index: Mapping[str, Any]) -> dict[str, Path]:
    """What a pool holds beside its specialists: name in the pool to the file it is a copy of."""
    return {
        "columns.json": layout.fit("split", "columns.json"),
        "transform.json": layout.fit("transform", "state.json"),
        "encoder.skops": layout.fit("encode", "encoder.skops"),
        "shapes.json": layout.fit("encode", "shapes.json"),
        "embedder.safetensors": layout.fit("embed", "embedder.safetensors"),
        "router.safetensors": layout.router(index, "router.safetensors"),
        "base.safetensors": layout.fit("base", "base.safetensors"),
        "gate.json": layout.gate(index),
    }


@dataclass(frozen=True)
class _Inputs:
    """One method a rule: what its job records, in the words of the layout."""

    layout: Layout
    job: Job
    index: Mapping[str, Any]

    def _fits(self, stage: str, *names: str) -> list[Path]:
        return [self.layout.fit(stage, name) for name in names]

    def _rows(self, *stages: str) -> list[Path]:
        return [self.layout.shard_rows(stage, self.job.about) for stage in stages]

    def _specialists(self) -> list[Path]:
        entries = self.layout.specialised(self.index)
        return [path for entry in entries for path in self.layout.candidates(entry)]

    def _search(self) -> tuple[Slots, int]:
        """The search that the job is part of, and number of its step."""
        entry = self.index["partitions"][self.job.partition]
        return self.layout.search_of(entry), int(self.job.about.split("/")[1])

    def split(self) -> list[Path]:
        return self._fits("split", "columns.json", "folds.safetensors")

    def split_check(self) -> list[Path]:
        return [*self.layout.rows("split"), *self._fits("split", "columns.json")]

    def transform(self) -> list[Path]:
        return [*self._rows("split"), *self._fits("transform", "state.json")]

    def encode(self) -> list[Path]:
        return [*self._rows("transform"), *self._fits("encode", "encoder.skops", "shapes.json")]

    def embed(self) -> list[Path]:
        return [*self._rows("encode"), *self._fits("embed", "embedder.safetensors")]

    def assign(self) -> list[Path]:
        rows = self._rows("transform", "encode", "embed")
        return [*rows, *self._fits("cluster", "assigner.safetensors")]

    def partition(self) -> list[Path]:
        summaries = [self.layout.summary(shard) for shard in self.layout.shards]
        return [*summaries, self.layout.check, *self._fits("cluster", "assigner.safetensors")]

    def specialist(self) -> list[Path]:
        return [*self._fits("base", "base.safetensors"), *self._fits("encode", "shapes.json")]

    def slot(self) -> list[Path]:
        search, step = self._search()
        return [*search.before(step)[1], *self.specialist()]

    def decision(self) -> list[Path]:
        search, step = self._search()
        return [*search.compared(step), *self.specialist()]

    def router(self) -> list[Path]:
        return [
            *self._specialists(),
            *self._fits("cluster", "assigner.safetensors"),
            *self._fits("embed", "embedder.safetensors"),
            *self._fits("encode", "shapes.json"),
        ]

    def _generalist(self) -> Path:
        return self.layout.baseline(self.index, "generalist.safetensors")

    def gate(self) -> list[Path]:
        fits = [*self.specialist(), *self._fits("cluster", "assigner.safetensors")]
        return [*self._specialists(), self._generalist(), *fits]

    def pool(self) -> list[Path]:
        state = pool_state(self.layout, self.index).values()
        return [*self._specialists(), self._generalist(), *state]

    def evaluate(self) -> list[Path]:
        names = ("generalist.safetensors", "random.safetensors")
        baselines = [self.layout.baseline(self.index, name) for name in names]
        return [self.layout.pool(self.index, "manifest.json"), *baselines]

    def drift(self) -> list[Path]:
        return [self.layout.router(self.index, "router.safetensors")]


_INPUTS: dict[str, Callable[[_Inputs], list[Path]]] = {
    "split": _Inputs.split,
    "split_check": _Inputs.split_check,
    "transform": _Inputs.transform,
    "encode": _Inputs.encode,
    "embed": _Inputs.embed,
    "assign": _Inputs.assign,
    "partition": _Inputs.partition,
    "train_specialist": _Inputs.slot,
    "train_choose": _Inputs.decision,
    "train_router": _Inputs.router,
    "gate": _Inputs.gate,
    "pool": _Inputs.pool,
    "evaluate": _Inputs.evaluate,
    "evaluate_drift": _Inputs.drift,
}
