"""Where every file of an experiment lies, and which jobs make it.

A path names everything that its file is made from: settings, code, rows. So a file that exists is
the right one, and a job has to run exactly where one of its files is missing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from shoal.formats.hashing import rows_id
from shoal.plan.jobs import Job
from shoal.plan.row_layout import FIT_FILES, ROW_STAGES, RowLayout
from shoal.plan.slots import Slots, validation_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
        lists = {name: tuple(content.get(name, ())) for name in ("shards", "points", "left_out")}
        lists["slots"] = tuple(content.get("slots", [len(lists["points"])]))
        made = {"search": "", **content["made"]}
        return cls(**{"home": content["root"], **content, **lists, "made": made})

    # After the index -------------------------------------------------------------------------

    def pack_status(self, pack: str) -> Path:
        """Written by a pack when all of its specialists are there."""
        return self._packs / f"{pack}.json"

    def pack_members(self, pack: str) -> Path:
        """The specialists of a pack, written when it is planned."""
        return self._packs / "members" / f"{pack}.json"

    @property
    def _packs(self) -> Path:
        return self.folder / "packs" / self.made["specialists"]

    def search(self, digest: str, validation: str) -> Slots:
        """The search of the partition with these training and validation rows."""
        slots: Slots | None = self._asked.get(("search", digest, validation))
        if slots is None:
            slots = self._asked["search", digest, validation] = Slots(
                self.folder,
                self.made["specialists"],
                self.made["search"],
                self.points,
                self.slots,
                self.goes_on,
                digest,
                validation,
                self._left_out,
            )
        return slots

    def search_of(self, entry: Mapping[str, Any]) -> Slots:
        """The search of a partition of the index."""
        return self.search(entry["specialist"], entry["digests"]["validation"])

    def choice(self, entry: Mapping[str, Any]) -> Path:
        """The choice of grid point of a partition of the index."""
        return self.search_of(entry).choice

    def candidates(self, entry: Mapping[str, Any]) -> list[Path]:
        """Weights among which a partition's specialist is chosen."""
        return list(self.search_of(entry).candidates) if entry["trained"] else []

    def specialised(self, index: IndexContent) -> list[Mapping[str, Any]]:
        """Entries of the partitions that have a specialist, or will have one."""
        return [entry for entry in index["partitions"] if self.candidates(entry)]

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
        """Slots ``ID/DIGEST/STEP/SLOT`` of the index that the pool is made without."""
        entries = index.get("partitions", []) if self.left_out else []
        return sorted(
            {name for each in entries if each["trained"] for name in self.search_of(each).lacks}
        )

    def has_slot(self, name: str) -> bool:
        """Whether a search of these rows has a slot ``ID/DIGEST/STEP/SLOT``, left out or not."""
        _, digest, _, slot = name.split("/")
        return self.search(digest, validation_of(slot)).has(name)

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
            yield from self.search_of(entry).jobs(int(entry["partition"]))
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

    def jobs(self, index: IndexContent) -> list[Job]:
        """Every job of the experiment, whether it has run or not."""
        early = [*self.fit_jobs(), *self.row_jobs(), self.partition_job()]
        return [*early, *self.later_jobs(index)]
