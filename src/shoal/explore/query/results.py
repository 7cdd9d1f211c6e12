"""An experiment's results folder as tables read it: its releases, and a name for every artifact."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from shoal.errors import SourceError
from shoal.formats.documents.plan import PlanRecord
from shoal.formats.json_file import read_made
from shoal.plan.history import HISTORY, History
from shoal.plan.layout import Layout
from shoal.plan.paths import Place, parse
from shoal.plan.plan import PLAN, VARIANTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shoal.formats.documents import plan as documents
    from shoal.formats.documents.index import PartitionIndex

    Row = dict[str, Any]

_GENERATION = re.compile(r"g\d+/")
_SUFFIXES = re.compile(r"(\.zarr\.zip|\.parquet|\.json|\.safetensors)$")


@dataclass(frozen=True)
class Release:
    """One line of a history.

    Attributes:
        variant: Id of its variant; None where the experiment has no variants.
        number: Its place in the history, from 1.
        current: Whether it is published now.
        record: The line.
        layout: Its files, in the folder that is looked at.
    """

    variant: str | None
    number: int
    current: bool
    record: documents.Release
    layout: Layout

    @cached_property
    def index(self) -> PartitionIndex | None:
        """Its partition index; None where `shoal gc` has removed it."""
        return self.layout.read_index()


class Results:
    """A results folder.

    Attributes:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        """Look at a folder.

        Raises:
            SourceError: It is none, or nothing has run in it.
        """
        self.root = root
        if not root.is_dir():
            there = sorted(each.name for each in root.parent.glob("*") if each.is_dir())
            known = f"; there are {', '.join(there)}" if there else ""
            raise SourceError(f"{root}: no such folder{known}; run the workflow first")
        if not any(self.files("g*")):
            raise SourceError(f"{root}: holds no results of an experiment; run the workflow first")

    def files(self, pattern: str) -> Iterator[Path]:
        """Paths in the folder that match, in order; temporary ones are left out."""
        return (path for path in sorted(self.root.glob(pattern)) if not path.name.startswith("."))

    @cached_property
    def releases(self) -> list[Release]:
        """All releases: of each variant in turn, the oldest first."""
        found = []
        for home in self._homes:
            history = History(home)
            current, entries = history.current, history.entries
            places = [
                n
                for n, each in enumerate(entries)
                if current and each["release"] == current["release"]
            ]
            for place, entry in enumerate(entries):
                layout = self._layout(entry)
                now = place == max(places, default=-1)
                variant = None if home == self.root else home.name
                found.append(Release(variant, place + 1, now, entry, layout))
        return found

    @cached_property
    def plans(self) -> list[tuple[PlanRecord, Layout]]:
        """Record and layout of every release, and of each variant's last run, if any."""
        last = [record for home in self._homes for record in _plan(home)]
        known: list[tuple[PlanRecord, Layout]] = [(e.record, e.layout) for e in self.releases]
        return [*known, *((record, self._layout(record)) for record in last)]

    def place(self, path: str | Path) -> Place:
        """Stage and wildcards of a file that is a stage's output."""
        found = parse(path)
        assert found is not None  # noqa: S101 - it is one
        return found

    def name(self, path: str | Path) -> str:
        """The name of a file's artifact: its place below the folder, without the file's name.

        Args:
            path: A file in the folder, or as an artifact's record names it.

        Returns:
            ``g1/base/ID`` for ``results/NAME/g1/base/ID/base.safetensors``, and the path itself for
            a file that lies elsewhere, such as a source file.
        """
        text = str(path)
        inside = text.removeprefix(f"{self.root}/").removeprefix(f"{self._recorded}/")
        if not _GENERATION.match(inside):
            return text
        place = parse(inside)
        if place is not None and place.stage.has_own_folder:
            return inside.rpartition("/")[0]
        return _SUFFIXES.sub("", inside)

    @cached_property
    def _homes(self) -> list[Path]:
        own = [self.root] if (self.root / HISTORY).exists() or (self.root / PLAN).exists() else []
        return [*own, *self.files(f"{VARIANTS}/*")]

    @cached_property
    def _recorded(self) -> str:
        """The folder as its artifacts' records name it: results may be a copy, elsewhere."""
        for home in self._homes:
            for record in (*History(home).entries[-1:], *_plan(home)):
                return str(record["layout"]["root"])
        return str(self.root)

    def _layout(self, record: PlanRecord) -> Layout:
        """A recorded layout, in this folder."""
        return replace(Layout.from_json(record["layout"]), root=str(self.root))


def _plan(home: Path) -> list[PlanRecord]:
    """Record of the last run in a folder, if there is one."""
    path = home / PLAN
    return [read_made(path, PlanRecord)] if path.exists() else []
