"""Where every file of an experiment lies, and which jobs make it.

A path names everything that its file is made from: settings, code, rows. So a file that exists is
the right one, and a job has to run exactly where one of its files is missing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from shoal.formats.hashing import rows_id, settings_id
from shoal.plan.jobs import Job
from shoal.plan.row_layout import FIT_FILES, ROW_STAGES, RowLayout
from shoal.plan.rungs import Rungs
from shoal.plan.trials import Trials

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shoal.plan.slots import Search

    IndexContent = Mapping[str, Any]

__all__ = ["BASELINES", "FIT_FILES", "ROW_STAGES", "Layout"]

BASELINES = {
    "evaluate_generalist": ("generalist.safetensors", "generalist.json"),
    "evaluate_random": ("random.safetensors", "random.json"),
}


@dataclass(frozen=True)
class Layout(RowLayout):
    """Paths and jobs of one experiment under one choice of settings, code and source files."""

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
        digest, validation = entry["specialist"], entry["digests"]["validation"]
        identity = self.choices_of(digest) if entry["trained"] else self.made["choices"]
        return Path(self.folder, "choices", identity, digest, f"{validation}.json")

    def choices_of(self, digest: str) -> str:
        """Identity of the choice among the specialists of these training rows."""
        points = self.points_with(digest)
        if points and points != self.points:
            return settings_id(self.made["specialists"], sorted(points))
        return self.made["choices"]

    def router(self, index: IndexContent, name: str) -> Path:
        """A file of the router."""
        return Path(self.folder, "router", self.made["router"], self.root_of(index, "fit"), name)

    def gate(self, index: IndexContent) -> Path:
        """Where specialists serve, and where the generalist does."""
        return self.folder / "gate" / self.made["gate"] / f"{self.root_of(index, 'fit')}.json"

    def pool(self, index: IndexContent, name: str) -> Path:
        """A file of the pool."""
        return Path(self.folder, "pool", self.made["pool"], self.root_of(index, "fit"), name)

    def baseline(self, index: IndexContent, name: str) -> Path:
        """A file of the baselines.

        Those of a generation are never trained to the FLOPs of an incomplete pool. Where there
        are none yet when its first such pool is made, its incomplete pools get their own.
        """
        basis = self.basis_of(index)
        return Path(self.folder, "baselines", self.fits["baselines"], basis, name)

    def evaluation(self, index: IndexContent, name: str) -> Path:
        """A file of the evaluation."""
        return Path(
            self.folder, "evaluate", self.made["evaluate"], self.root_of(index, "all"), name
        )

    def drift(self, index: IndexContent) -> Path:
        """How the rows differ from those that the generation was fitted on."""
        return self.folder / "drift" / self.made["drift"] / f"{self.root_of(index, 'all')}.json"

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
            basis: ``generation``, or ``incomplete``: see :meth:`baseline`.
        """
        folder = Path(self.folder, "baselines", self.fits["baselines"], basis)
        return [folder / name for names in BASELINES.values() for name in names]

    def root_of(self, index: IndexContent, name: str) -> str:
        """A root of the index, another one where the pool lacks specialists of it."""
        root, lacks = str(index["root"][name]), self.lacks(index)
        return rows_id(root, lacks) if lacks else root

    def basis_of(self, index: IndexContent) -> str:
        """Which rows the baselines of an index are trained for, see :meth:`baseline`."""
        if self.refreshed:
            return self.root_of(index, "fit")
        if self.lacks(index) and (
            self._are_there("incomplete") or not self._are_there("generation")
        ):
            return "incomplete"
        return "generation"

    def _are_there(self, basis: str) -> bool:
        return all(path.exists() for path in self.frozen_baselines(basis))

    @property
    def published(self) -> Path:
        """The record of the last release, which is there only while it is the published one."""
        return Path(self.home, "published", f"{self.release}.json")

    # Jobs ------------------------------------------------------------------------------------

    def later_jobs(self, index: IndexContent) -> Iterator[Job]:
        """Everything after the index."""
        for entry in self.specialised(index):
            yield from self._partition_jobs(entry)
        routed = ("router.safetensors", "ledger.json")
        yield Job("train_router", "", tuple(self.router(index, name) for name in routed))
        for rule, names in BASELINES.items():
            yield Job(rule, "", tuple(self.baseline(index, name) for name in names))
        yield Job("gate", "", (self.gate(index),))
        yield Job("pool", "", (self.pool(index, "manifest.json"),))
        judged = ("metrics.json", "report.html", "predictions.parquet")
        yield Job("evaluate", "", tuple(self.evaluation(index, name) for name in judged))
        yield Job("evaluate_drift", "", (self.drift(index),))
        yield Job("pool_publish", "", (self.published,))

    def _partition_jobs(self, entry: Mapping[str, Any]) -> Iterator[Job]:
        number, digest = int(entry["partition"]), entry["specialist"]
        search = self.search_of(entry)
        if search:
            yield from search.jobs(number)
        for point in () if search else self.points_of(entry):
            names = ("model.safetensors", "ledger.json")
            outputs = tuple(self.specialist(digest, point, name) for name in names)
            yield Job("train_specialist", f"{digest}/{point}", outputs, number)
        yield Job("train_choose", digest, (self.choice(entry),), number)

    def jobs(self, index: IndexContent) -> list[Job]:
        """Every job of the experiment, whether it has run or not."""
        early = [*self.fit_jobs(), *self.row_jobs(), self.partition_job()]
        return [*early, *self.later_jobs(index)]
