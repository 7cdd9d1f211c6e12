"""Where every file of an experiment lies, and which jobs make it.

A path names everything that its file is made from: settings, code, rows. So a file that exists is
the right one, and a job has to run exactly where one of its files is missing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from shoal.formats.documents.index import PartitionIndex
from shoal.formats.hashing import rows_id, settings_id
from shoal.formats.json_file import read_made
from shoal.plan import paths
from shoal.plan.rungs import Rungs
from shoal.plan.stages import AFTER_INDEX, BEFORE_INDEX, INDEX, STAGES
from shoal.plan.trials import Trials

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shoal.plan.jobs import Job
    from shoal.plan.slots import Search

    IndexContent = Mapping[str, Any]


@dataclass(frozen=True)
class Layout:
    """Paths and jobs of one experiment under one choice of settings, code and source files.

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
        left_out: Specialists ``DIGEST/POINT`` whose training failed and that the pool is made
            without, sorted.
        slots: How many points train on each rung; none where points are not halved.
        batches: How many points train in each batch; none where points are not proposed.
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
    left_out: tuple[str, ...] = ()
    slots: tuple[int, ...] = ()
    batches: tuple[int, ...] = ()
    probed: bool = False

    @cached_property
    def folder(self) -> Path:
        """The generation's folder."""
        return Path(self.root, self.generation)

    @cached_property
    def _asked(self) -> dict[tuple[str, ...], Any]:
        """Paths that were asked for: a plan asks thousands of times, and making one takes long."""
        return {}

    def file(self, name: str, index: Mapping[str, Any] | None = None, **wildcards: str) -> Path:
        """A file of a job.

        Args:
            name: ``STAGE.OUTPUT``, such as ``split.table``.
            index: Content of the partition index, for jobs about the rows of all partitions.
            wildcards: By which the job differs from others of its stage, such as ``shard``.
        """
        key = (name, *wildcards.values())
        path: Path | None = self._asked.get(key)
        if path is None:
            stage, _, output = name.partition(".")
            path = paths.outputs(self, STAGES[stage], wildcards, index)[output]
            if index is None:
                self._asked[key] = path
        return path

    def files(self, name: str) -> list[Path]:
        """A file of each shard, such as ``split.table``."""
        return [self.file(name, shard=shard) for shard in self.shards]

    @cached_property
    def index(self) -> Path:
        """The partition index."""
        return self.index_of(self.index_id)

    def index_of(self, identity: str) -> Path:
        """A partition index under the same assigner."""
        return self.file("partition.index", index_id=identity)

    def read_index(self) -> dict[str, Any] | None:
        """Content of the partition index; None where there is none yet."""
        return dict(read_made(self.index, PartitionIndex)) if self.index.exists() else None

    def as_json(self) -> dict[str, Any]:
        """The layout as JSON, from which :meth:`from_json` makes it again."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """A layout that was kept as JSON."""
        names = ("shards", "points", "left_out", "slots", "batches")
        lists = {name: tuple(content.get(name, ())) for name in names}
        return cls(**{"home": content["root"], **content, **lists})

    # After the index -------------------------------------------------------------------------

    @cached_property
    def specialists(self) -> Path:
        """The folder of all specialists under these settings and this code."""
        return self.folder / "specialists" / self.made["specialists"]

    def specialist(self, digest: str, point: str, name: str) -> Path:
        """A file of one specialist."""
        return self.specialists / digest / point / name

    def pack_status(self, pack: str) -> Path:
        """What a pack's job leaves when all of its specialists are there."""
        return self._packs / f"{pack}.json"

    def pack_members(self, pack: str) -> Path:
        """The specialists of a pack, written when it is planned."""
        return self._packs / "members" / f"{pack}.json"

    @property
    def _packs(self) -> Path:
        return self.folder / "packs" / self.made["specialists"]

    def points_of(self, entry: Mapping[str, Any]) -> tuple[str, ...]:
        """Grid points at which a partition of the index has a specialist, or will have one."""
        return self.points_with(entry["specialist"]) if entry["trained"] else ()

    def points_with(self, digest: str) -> tuple[str, ...]:
        """Grid points at which there is a specialist of these training rows, or will be one."""
        return tuple(p for p in self.points if f"{digest}/{p}" not in self._left_out)

    def rungs(self, digest: str, validation: str) -> Rungs:
        """The rungs of the partition with these training and validation rows.

        Raises:
            KeyError: Points are not halved.
        """
        rungs = self.folder / "rungs"
        first, later = rungs / self.made["rungs"], rungs / self.made["choices"]
        return Rungs(first, later, self.points, self.slots, digest, validation)

    def trials(self, digest: str, validation: str) -> Trials:
        """The trials of the partition with these training and validation rows.

        Raises:
            KeyError: Points are not proposed.
        """
        trials = self.folder / "trials"
        first, later = trials / self.made["specialists"], trials / self.made["proposals"]
        return Trials(first, later, self.points, self.batches, digest, validation)

    def search_of(self, entry: Mapping[str, Any]) -> Search | None:
        """The search of a partition of the index; None where all points train to the end."""
        rows = entry["specialist"], entry["digests"]["validation"]
        if self.slots:
            return self.rungs(*rows)
        return self.trials(*rows) if self.batches else None

    def candidates(self, entry: Mapping[str, Any]) -> list[Path]:
        """Weights among which a partition's specialist is chosen."""
        digest, validation = entry["specialist"], entry["digests"]["validation"]
        found: tuple[Path, ...] | None = self._asked.get(("candidates", digest, validation))
        if found is None:
            if search := self.search_of(entry):
                found = tuple(search.candidates)
            else:
                points = self.points_with(digest)
                found = tuple(self.specialist(digest, p, "model.safetensors") for p in points)
            self._asked["candidates", digest, validation] = found
        return list(found) if entry["trained"] else []

    def ledgers_of_candidates(self, entry: Mapping[str, Any]) -> list[Path]:
        """What the trainings cost that left a partition's candidates."""
        return [path.with_name("ledger.json") for path in self.candidates(entry)]

    def training_ledgers(self, entry: Mapping[str, Any]) -> list[Path]:
        """What training a partition's specialists at all grid points cost."""
        if search := self.search_of(entry):
            return search.ledgers
        return self.ledgers_of_candidates(entry)

    def specialised(self, index: IndexContent) -> list[Mapping[str, Any]]:
        """Entries of the partitions that have a specialist, or will have one."""
        return [entry for entry in index["partitions"] if self.points_of(entry)]

    def choice(self, entry: Mapping[str, Any]) -> Path:
        """The choice of grid point of a partition of the index.

        Among fewer points it is the choice of a grid that has no others.
        """
        rows = {"digest": entry["specialist"], "validation": entry["digests"]["validation"]}
        return self.file("train_choose.choice", **rows)

    def choices_of(self, digest: str) -> str:
        """Identity of the choice among the specialists of these training rows."""
        points = self.points_with(digest)
        if points and points != self.points:
            return settings_id(self.made["specialists"], sorted(points))
        return self.made["choices"]

    @cached_property
    def _left_out(self) -> frozenset[str]:
        return frozenset(self.left_out)

    def lacks(self, index: IndexContent) -> list[str]:
        """Specialists ``DIGEST/POINT`` of the index that the pool is made without."""
        if not self.left_out:
            return []
        digests = {entry["specialist"] for entry in index.get("partitions", []) if entry["trained"]}
        return [name for name in self.left_out if name.split("/")[0] in digests]

    def frozen_baselines(self, basis: str = "generation") -> list[Path]:
        """Files of the baselines that are trained once a generation, for any of its pools.

        Args:
            basis: ``generation``, or ``incomplete``: see :meth:`basis_of`.
        """
        stages = (stage for stage in AFTER_INDEX if stage.frozen)
        found = (paths.outputs(self, stage, {"basis": basis}) for stage in stages)
        return [path for files in found for path in files.values()]

    def root_of(self, index: IndexContent, name: str) -> str:
        """A root of the index, another one where the pool lacks specialists of it."""
        root, lacks = str(index["root"][name]), self.lacks(index)
        return rows_id(root, lacks) if lacks else root

    def basis_of(self, index: IndexContent) -> str:
        """Which rows the baselines of an index are trained for.

        Those of a generation are never trained to the FLOPs of an incomplete pool. Where there
        are none yet when its first such pool is made, its incomplete pools get their own.
        """
        if self.refreshed:
            return self.root_of(index, "fit")
        if self.lacks(index) and (
            self._are_there("incomplete") or not self._are_there("generation")
        ):
            return "incomplete"
        return "generation"

    def _are_there(self, basis: str) -> bool:
        return all(path.exists() for path in self.frozen_baselines(basis))

    # Asked for by rules ------------------------------------------------------------------------

    def fit(self, stage: str, name: str) -> Path:
        """A fitted file of the generation."""
        return self.folder / stage / self.fits[stage] / name

    def shard_rows(self, stage: str, shard: str) -> Path:
        """The rows of one shard after a stage."""
        per_shard = (each for each in BEFORE_INDEX if each.per == "shard")
        found = next(each for each in per_shard if each.identity == stage)
        return self.file(f"{found.name}.{next(iter(found.outputs))}", shard=shard)

    def rows(self, stage: str) -> list[Path]:
        """The rows of every shard after a stage."""
        return [self.shard_rows(stage, shard) for shard in self.shards]

    def summary(self, shard: str) -> Path:
        """What ``assign`` counted in one shard."""
        return self.file("assign.summary", shard=shard)

    @property
    def check(self) -> Path:
        """What ``split_check`` counted over all shards."""
        return self.file("split_check.check")

    def router(self, index: IndexContent, name: str) -> Path:
        """A file of the router."""
        return self.file(f"train_router.{name.split('.', maxsplit=1)[0]}", index)

    def gate(self, index: IndexContent) -> Path:
        """Where specialists serve, and where the generalist does."""
        return self.file("gate.gate", index)

    def pool(self, index: IndexContent, name: str) -> Path:
        """A file of the pool."""
        return self.file("pool.manifest", index).with_name(name)

    def baseline(self, index: IndexContent, name: str) -> Path:
        """A file of the baselines."""
        return self.file("evaluate_random.ledger", index).with_name(name)

    def evaluation(self, index: IndexContent, name: str) -> Path:
        """A file of the evaluation."""
        return self.file("evaluate.metrics", index).with_name(name)

    def drift(self, index: IndexContent) -> Path:
        """How the rows differ from those that the generation was fitted on."""
        return self.file("evaluate_drift.drift", index)

    @property
    def published(self) -> Path:
        """The record of the last release, which is there only while it is the published one."""
        return self.file("pool_publish.record")

    # Jobs ------------------------------------------------------------------------------------

    def early_jobs(self) -> Iterator[Job]:
        """Everything up to the index, which is planned without it."""
        return paths.jobs(self, (*BEFORE_INDEX, STAGES[INDEX]))

    def later_jobs(self, index: IndexContent) -> Iterator[Job]:
        """Everything after the index."""
        return paths.jobs(self, AFTER_INDEX, index)

    def jobs(self, index: IndexContent) -> list[Job]:
        """Every job of the experiment, whether it has run or not."""
        return [*self.early_jobs(), *self.later_jobs(index)]
