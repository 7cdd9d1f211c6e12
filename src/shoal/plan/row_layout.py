"""Where the files of an experiment lie up to its partition index, and which jobs make them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.formats.documents.index import PartitionIndex
from shoal.formats.json_file import read_made
from shoal.plan.jobs import Job

if TYPE_CHECKING:
    from collections.abc import Iterator

FIT_FILES = {
    "split": ("columns.json", "folds.safetensors"),
    "transform": ("state.json",),
    "encode": ("encoder.skops", "shapes.json"),
    "embed": ("embedder.safetensors", "ledger.json"),
    "cluster": ("assigner.safetensors", "ledger.json"),
    "base": ("base.safetensors", "ledger.json"),
}
"""Files of each stage's fit; all of them are frozen with the generation."""

ROW_STAGES = ("split", "transform", "encode", "embed", "cluster")
"""Stages that are applied to each shard, in order."""

_SUFFIX = {"split": "parquet", "transform": "parquet"}


@dataclass(frozen=True)
class RowLayout:
    """Paths and jobs up to the index, under one choice of settings, code and source files.

    Attributes:
        root: The experiment's results folder.
        home: Folder of what is published.
        generation: Name of the generation's folder.
        fits: Identity of each stage's settings and of everything upstream; code is no part.
        made: Identity of what applies the fits: their ids and the code that applies them.
        shards: Names of the shards.
        points: Ids of the grid points.
        index_id: Identity of the partition index.
        release: Identity of everything that is published together.
        refreshed: Whether the baselines are trained for the current rows, not once a generation.
        slots: How many slots each step of a partition's search trains.
        goes_on: Whether slots of later steps go on from the state of those before.
        left_out: Slots ``ID/DIGEST/STEP/SLOT`` whose training failed and that the pool is made
            without, sorted.
        probed: Whether the assigner is fitted by probes, which start from the base.
    """

    root: str
    home: str
    generation: str
    fits: dict[str, str]
    made: dict[str, str]
    shards: tuple[str, ...]
    points: tuple[str, ...]
    index_id: str
    release: str
    refreshed: bool
    slots: tuple[int, ...] = ()
    goes_on: bool = False
    left_out: tuple[str, ...] = ()
    probed: bool = False

    @cached_property
    def folder(self) -> Path:
        """The generation's folder."""
        return Path(self.root, self.generation)

    @cached_property
    def _asked(self) -> dict[tuple[str, ...], Any]:
        """Paths that were asked for: a plan asks thousands of times, and making one takes long."""
        return {}

    def fit(self, stage: str, name: str) -> Path:
        """A fitted file of the generation."""
        path: Path | None = self._asked.get((stage, name))
        if path is None:
            path = self._asked[stage, name] = self.folder / stage / self.fits[stage] / name
        return path

    def shard_rows(self, stage: str, shard: str) -> Path:
        """The rows of one shard after a stage."""
        suffix = _SUFFIX.get(stage, "zarr.zip")
        return self._applied["rows", stage] / f"{shard}.{suffix}"

    def rows(self, stage: str) -> list[Path]:
        """The rows of every shard after a stage."""
        return [self.shard_rows(stage, shard) for shard in self.shards]

    def summary(self, shard: str) -> Path:
        """What ``assign`` counted in one shard."""
        return self._applied["summary", "cluster"] / f"{shard}.json"

    @property
    def check(self) -> Path:
        """What ``split_check`` counted over all shards."""
        return self.folder / "split" / self.fits["split"] / "checks" / f"{self.made['check']}.json"

    @cached_property
    def index(self) -> Path:
        """The partition index."""
        return self.index_of(self.index_id)

    def index_of(self, identity: str) -> Path:
        """A partition index under the same assigner."""
        return self.folder / "cluster" / self.fits["cluster"] / "indexes" / identity / "index.json"

    @cached_property
    def _applied(self) -> dict[tuple[str, str], Path]:
        """Folders of what is made of each shard; a plan asks for them thousands of times."""
        kinds = [("summary", "cluster"), *(("rows", stage) for stage in ROW_STAGES)]
        return {
            (kind, stage): self.folder / stage / self.fits[stage] / kind / self.made[stage]
            for kind, stage in kinds
        }

    def fit_jobs(self) -> Iterator[Job]:
        """The fits of the generation, baselines aside."""
        for stage, names in FIT_FILES.items():
            yield Job(f"{stage}_fit", "", tuple(self.fit(stage, name) for name in names))

    def row_jobs(self) -> Iterator[Job]:
        """What is applied to the rows, up to the index."""
        for stage in ROW_STAGES[:-1]:
            for shard in self.shards:
                yield Job(stage, shard, (self.shard_rows(stage, shard),))
        for shard in self.shards:
            yield Job("assign", shard, (self.shard_rows("cluster", shard), self.summary(shard)))
        yield Job("split_check", "", (self.check,))

    def partition_job(self) -> Job:
        """The checkpoint."""
        return Job("partition", "", (self.index,))

    def read_index(self) -> dict[str, Any] | None:
        """Content of the partition index; None where there is none yet."""
        return dict(read_made(self.index, PartitionIndex)) if self.index.exists() else None
