"""Where every file of an experiment lies, and which jobs make it.

A path names everything that its file is made from: settings, code, rows. So a file that exists is
the right one, and a job has to run exactly where one of its files is missing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from shoal.formats.documents.index import PartitionIndex
from shoal.formats.hashing import rows_id
from shoal.formats.json_file import read_made
from shoal.formats.links import point_of
from shoal.partitions.index import UNASSIGNED
from shoal.plan import paths
from shoal.plan.slots import Slots
from shoal.plan.stages import AFTER_INDEX, BEFORE_INDEX, INDEX, STAGES
from shoal.pool.incomplete import name_of
from shoal.search.slot_names import validation_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shoal.formats.documents.index import PlannedEntry, PlannedIndex
    from shoal.formats.documents.plan import FailedSpecialist, LayoutRecord
    from shoal.plan.jobs import Job
    from shoal.plan.stages import Root


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
        refreshed: Whether the baselines are trained for the current rows, not once per generation.
        slots: How many slots each step of a partition's search trains.
        goes_on: Whether slots of later steps go on from the state of those before.
        left_out: Slots ``ID/DIGEST/STEP/SLOT`` whose training failed and that the pool is made
            without, sorted.
        probed: Whether the assigner is fitted by probes, which start from the base.
        grown: Identities of the growths of the assigner in use, the first one first.
        previous: The release before, whose pool scores rows that arrived, and an identity of the
            order in which they did; else empty. Neither is a part of what the layout is.
        after: The copy that the channel's next copy follows, ``first`` where there is none;
            empty where there is no channel. No part of what the layout is.
        bases: Earlier copies that patches are made from. The same.
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
    grown: tuple[str, ...] = ()
    previous: tuple[str, ...] = field(default=(), compare=False)
    after: str = field(default="", compare=False)
    bases: tuple[str, ...] = field(default=(), compare=False)

    @cached_property
    def folder(self) -> Path:
        """The generation's folder."""
        return Path(self.root, self.generation)

    @cached_property
    def _asked(self) -> dict[tuple[str, ...], Any]:
        """Paths that were asked for: a plan asks thousands of times, and making one takes long."""
        return {}

    def file(self, name: str, index: PlannedIndex | None = None, **wildcards: str) -> Path:
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

    @cached_property
    def assigner(self) -> Path:
        """The assigner in use, grown where it has grown."""
        return paths.assigner_in_use(self)["assigner"]

    def index_of(self, identity: str) -> Path:
        """A partition index under the same assigner."""
        return self.file("partition.index", index_id=identity)

    def read_index(self) -> PartitionIndex | None:
        """Content of the partition index; None where there is none yet."""
        return read_made(self.index, PartitionIndex) if self.index.exists() else None

    def as_json(self) -> LayoutRecord:
        """The layout as JSON, from which :meth:`from_json` makes it again."""
        return cast("LayoutRecord", asdict(self))

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """A layout that was kept as JSON."""
        names = ("shards", "points", "left_out", "grown", "previous", "bases")
        lists = {name: tuple(content.get(name, ())) for name in names}
        lists["slots"] = tuple(content.get("slots", [len(lists["points"])]))
        made = {"search": "", "chosen": "", **content["made"]}
        return cls(**{"home": content["root"], **content, **lists, "made": made})

    # After the index -------------------------------------------------------------------------

    def pack_status(self, pack: str, stage: str = "train_pack") -> Path:
        """Written by a pack when all of its files are there."""
        return self.file(f"{stage}.status", pack=pack)

    def pack_members(self, pack: str, stage: str = "train_pack") -> Path:
        """The jobs that a pack does the work of, written when it is planned."""
        status = self.pack_status(pack, stage)
        return status.parent / "members" / status.name

    def search(self, digest: str, validation: str) -> Slots:
        """The search of the partition with these training and validation rows.

        A specialist that continues has one step with one slot: its grid point was chosen before.
        """
        slots: Slots | None = self._asked.get(("search", digest, validation))
        if slots is None:
            point = point_of(digest)
            slots = self._asked["search", digest, validation] = Slots(
                self.folder,
                self.made["specialists"],
                self.made["search"],
                self.points if point is None else (point,),
                self.slots if point is None else (1,),
                self.goes_on,
                digest,
                validation,
                self._left_out,
            )
        return slots

    def search_of(self, entry: PlannedEntry) -> Slots:
        """The search of a partition of the index."""
        return self.search(entry["specialist"], entry["digests"]["validation"])

    def choice(self, entry: PlannedEntry) -> Path:
        """The choice of grid point of a partition of the index."""
        return self.search_of(entry).choice

    def candidates(self, entry: PlannedEntry) -> list[Path]:
        """Weights among which a partition's specialist is chosen."""
        return list(self.search_of(entry).candidates) if entry["trained"] else []

    def specialised(self, index: PlannedIndex, partition: str | None = None) -> list[PlannedEntry]:
        """Entries of the partitions that have a specialist, or will have one.

        Args:
            index: The partition index.
            partition: Number of the only partition that is of interest.
        """
        entries = index["partitions"]
        if partition is not None:
            number = int(partition)
            entries = entries[number : number + 1] if number >= 0 else []
        return [entry for entry in entries if self.candidates(entry)]

    def asked(self, index: PlannedIndex) -> Iterator[tuple[str, str]]:
        """Of each partition the number, and an identity of all that its rows' answers are from.

        Those are its rows and those of others that its specialist is asked about, its specialist,
        if it has one, and the baselines. Rows of no partition have the number -1.
        """
        basis = [*dict.fromkeys((self.basis_of(index), self.generalist_of(index)))]
        for entry in index["partitions"]:
            chosen = None
            if self.candidates(entry):
                search = self.search_of(entry)
                decision = search.identity(search.count - 1, decided=True)
                chosen = [decision, search.digest, search.validation]
            yield str(entry["partition"]), rows_id(entry["ask"], chosen, basis)
        if "unassigned" in index and (outside := index["unassigned"]["ask"]):
            yield str(UNASSIGNED), rows_id(outside, None, basis)

    @cached_property
    def _left_out(self) -> frozenset[str]:
        return frozenset(self.left_out)

    def lacks(self, index: PlannedIndex) -> list[str]:
        """Slots ``ID/DIGEST/STEP/SLOT`` of the index that the pool is made without."""
        entries = index["partitions"] if self.left_out else []
        return sorted(
            {name for each in entries if each["trained"] for name in self.search_of(each).lacks}
        )

    def has_slot(self, failed: FailedSpecialist) -> bool:
        """Whether a search of these rows has the slot of a failed training, left out or not."""
        search = self.search(failed["digest"], validation_of(failed["slot"]))
        return search.has(name_of(failed))

    def frozen_baselines(self, basis: str = "generation") -> list[Path]:
        """Files of the baselines that are trained once per generation, for any of its pools.

        Args:
            basis: ``generation``, or ``incomplete``: see :meth:`basis_of`.
        """
        stages = (stage for stage in AFTER_INDEX if stage.frozen)
        given = {"basis": basis, "link": basis}
        found = (paths.outputs(self, stage, given) for stage in stages)
        return [path for files in found for path in files.values()]

    def root_of(self, index: PlannedIndex, name: Root) -> str:
        """A root of the index, another one where the pool lacks specialists of it."""
        root, lacks = index["root"][name], self.lacks(index)
        return rows_id(root, lacks) if lacks else root

    def basis_of(self, index: PlannedIndex) -> str:
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

    def generalist_of(self, index: PlannedIndex) -> str:
        """Name of the generalist of an index: the link that it continues by, or its basis."""
        continued = index.get("continued")
        return continued["link"] if continued is not None else self.basis_of(index)

    def _are_there(self, basis: str) -> bool:
        return all(path.exists() for path in self.frozen_baselines(basis))

    # Jobs ------------------------------------------------------------------------------------

    def early_jobs(self) -> Iterator[Job]:
        """Everything up to the index, which is planned without it."""
        return paths.jobs(self, (*BEFORE_INDEX, STAGES[INDEX]))

    def later_jobs(self, index: PlannedIndex) -> Iterator[Job]:
        """Everything after the index."""
        return paths.jobs(self, AFTER_INDEX, index)

    def jobs(self, index: PlannedIndex) -> list[Job]:
        """Every job of the experiment, whether it has run or not."""
        return [*self.early_jobs(), *self.later_jobs(index)]
