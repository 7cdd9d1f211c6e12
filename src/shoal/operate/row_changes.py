"""Which rows came and went between two releases of one assigner, and in which source files."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from shoal.errors import CorruptError, SourceError
from shoal.formats.documents.index import Summary
from shoal.formats.json_file import read_made

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from shoal.plan.layout import Layout

    Groups = dict[tuple[int, str], "Group"]


class Group(NamedTuple):
    """Where one shard's rows of one partition and fold lie, and the sum of their hashes."""

    start: int
    stop: int
    sum: str

    @property
    def content(self) -> tuple[int, str]:
        """Count and sum of hashes: the same for the same rows, wherever they lie."""
        return self.stop - self.start, self.sum


@dataclass(frozen=True)
class FileChange:
    """A source file that came, changed or went.

    Attributes:
        path: The file; of one that went, where it was read from.
        kind: What happened to it.
        before: Its shard in the earlier release, None if it came.
        after: Its shard now, None if it went.
    """

    path: str
    kind: Literal["added", "edited", "removed"]
    before: str | None
    after: str | None


@dataclass
class RowChanges:
    """Rows now against those of an earlier release with the same assigner.

    Reads the summaries of shards that are not in both, and row hashes only where rows both came
    and went in one fold of a partition; each store once. What it has read stays in memory, 32
    bytes per row.

    Attributes:
        before: Where the earlier release's files lie.
        after: Where the files lie now.
        sources: Source file by shard, now.
    """

    before: Layout
    after: Layout
    sources: Mapping[str, Path]
    _groups: dict[Path, Groups | None] = field(default_factory=dict, repr=False)
    _hashes: dict[Path, NDArray[np.uint8]] = field(default_factory=dict, repr=False)

    def count(self, partition: int, fold: str) -> tuple[int, int] | None:
        """Rows added and removed in one fold; None where the earlier rows are no longer kept."""
        place = (partition, fold)
        old, new = self._places(self.before, place), self._places(self.after, place)
        if old is None or new is None:
            return None
        if not old or not new:
            return _rows(new), _rows(old)
        from shoal.formats.hashing import multiset_change

        try:
            return multiset_change(self._read(self.before, old), self._read(self.after, new))
        except (SourceError, CorruptError):
            return None

    def files_of(self, partition: int, folds: Collection[str]) -> list[FileChange]:
        """The source files through which rows of these folds of a partition changed."""
        return [change for change in self.files if self._touches(change, partition, folds)]

    @cached_property
    def files(self) -> list[FileChange]:
        """Source files that came, changed or went, in order of path."""
        old = {self._earlier_path(shard): shard for shard in self._only(self.before, self.after)}
        new = {str(self.sources[shard]): shard for shard in self._only(self.after, self.before)}
        changes = []
        for path in sorted({*old, *new}):
            kind: Any = "edited" if path in old and path in new else "removed"
            kind = "added" if path not in old else kind
            changes.append(FileChange(path, kind, old.get(path), new.get(path)))
        return changes

    @staticmethod
    def _only(layout: Layout, other: Layout) -> list[str]:
        return sorted(set(layout.shards) - set(other.shards))

    @cached_property
    def _recoded(self) -> list[str]:
        """Shards in both releases whose rows other code turned into other ones."""
        if self.before.made["cluster"] == self.after.made["cluster"]:
            return []
        common = sorted(set(self.before.shards) & set(self.after.shards))
        return [
            shard
            for shard in common
            if _contents(self._groups_of(self.before, shard))
            != _contents(self._groups_of(self.after, shard))
        ]

    def _places(self, layout: Layout, place: tuple[int, str]) -> list[tuple[str, Group]] | None:
        """Shard and place of the rows that are not surely in both releases."""
        other = self.after if layout is self.before else self.before
        places = []
        for shard in [*self._only(layout, other), *self._recoded]:
            groups = self._groups_of(layout, shard)
            if groups is None:
                return None
            if place in groups:
                places.append((shard, groups[place]))
        return places

    def _groups_of(self, layout: Layout, shard: str) -> Groups | None:
        """Summary of ``assign``; None where it is no longer there."""
        path = layout.file("assign.summary", shard=shard)
        if path not in self._groups:
            self._groups[path] = _summary(path) if path.exists() else None
        return self._groups[path]

    def _touches(self, change: FileChange, partition: int, folds: Collection[str]) -> bool:
        contents = []
        for layout, shard in ((self.before, change.before), (self.after, change.after)):
            groups = self._groups_of(layout, shard) if shard else {}
            if groups is None:
                return True
            found = [groups.get((partition, fold)) for fold in folds]
            contents.append([group and group.content for group in found])
        return contents[0] != contents[1]

    def _read(self, layout: Layout, places: Iterable[tuple[str, Group]]) -> NDArray[np.uint8]:
        import numpy as np

        return np.concatenate(list(self._parts(layout, places)))

    def _parts(
        self, layout: Layout, places: Iterable[tuple[str, Group]]
    ) -> Iterator[NDArray[np.uint8]]:
        from shoal.formats.row_store import ShardRows

        for shard, group in places:
            path = layout.file("assign.rows", shard=shard)
            if path not in self._hashes:
                with ShardRows(path) as store:
                    self._hashes[path] = store.read("hash")
            yield self._hashes[path][group.start : group.stop]

    def _earlier_path(self, shard: str) -> str:
        """The source file that a shard was read from, by its table's record."""
        from shoal.formats.tables import Table

        try:
            table = Table(self.before.file("split.table", shard=shard))
        except (SourceError, CorruptError):
            return f"shard {shard}"
        table.close()
        return str(table.record.get("source", f"shard {shard}"))


def _summary(path: Path) -> Groups:
    return {
        (group["partition"], group["fold"]): Group(group["start"], group["stop"], group["sum"])
        for group in read_made(path, Summary)["groups"]
    }


def _contents(groups: Groups | None) -> object:
    """Identity of one shard's rows; equal to nothing where they are not known."""
    if groups is None:
        return object()
    return {place: group.content for place, group in groups.items()}


def _rows(places: Iterable[tuple[str, Group]]) -> int:
    return sum(group.stop - group.start for _, group in places)
