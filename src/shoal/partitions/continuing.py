"""Models that continue: a link is trained from a parent on new rows and some that it has seen.

A parent is a specialist that was trained from the base, or a link. A link takes the place of the
specialist in the partition index, so all that follows knows it by its name. It continues from the
nearest ancestor whose rows are all still there; so no link has seen a row that was removed, beyond
what base, encoder, embedder and assigner of the generation saw.

Source: proactive training, Derakhshan et al., EDBT 2019; slices that are gone back to as SISA's,
Bourtoule et al., S&P 2021.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from shoal.errors import SourceError
from shoal.formats.documents.index import name_of_file, named_file, trainings_of
from shoal.formats.hashing import ROW_HASH_BYTES, multiset_change, rows_id, settings_id
from shoal.formats.headers import weights_id
from shoal.formats.links import link_name
from shoal.formats.row_store import ShardRows
from shoal.formats.units import UNIT
from shoal.partitions.index import roots
from shoal.partitions.reader import Index, choosing_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.formats.documents.choice import Point
    from shoal.formats.documents.index import Continued, PartitionEntry, PartitionIndex
    from shoal.settings.running import Continuing

    Hashes = NDArray[np.uint8]
    Places = set[tuple[Path, int, int]]
    Chosen = Callable[[PartitionEntry], tuple[Path, Point, float] | None]
    """Weights, grid point and FLOPs of a partition's specialist; None where it is gone."""
    PutBack = Callable[[Continued, Path], bool]
    """Puts weights that are gone, from which a specialist continues, back; whether it could."""


@dataclass(frozen=True)
class Deployed:
    """The last release's copy, from which models continue.

    Attributes:
        copy: Its identity.
        weights: Its models by number of partition, the generalist among them.
        models: :func:`shoal.formats.headers.weights_id` of the trained ones that these are of.
        moves: Share of their weights that moves, where they are trained a second time for it.
    """

    copy: str
    weights: Mapping[int, Path]
    models: Mapping[int, str]
    moves: float | None = None

    def of(self, number: int, trained: Path) -> Path | None:
        """What is deployed of a model; None where that is of another one.

        Args:
            number: Its number.
            trained: Its weights.
        """
        path = self.weights.get(number)
        return path if path is not None and self.models[number] == weights_id(trained) else None


@dataclass(frozen=True)
class _Ancestor:
    """A model that a partition may continue from.

    Attributes:
        specialist: Its name.
        index: The index in which the rows were its own.
        weights: Its weights.
        point: Its grid point.
        spent: FLOPs that its making took.
        links: How many times it was continued.
        continued: What it continues from itself, its paths named by ``path``.
        path: The index that says so.
        copy: The copy whose weights of it these are; empty where they are the trained ones.
    """

    specialist: str
    index: Path
    weights: Path
    point: Point
    spent: float
    links: int
    continued: Continued | None
    path: Path
    copy: str = ""


def continue_specialists(
    index: Mapping[str, Any],
    path: Path,
    before_path: Path,
    chosen: Chosen,
    put_back: PutBack | None,
    asked: Continuing,
    trainings: float,
    deployed: Deployed | None = None,
) -> dict[str, Any]:
    """The index with partitions that continue.

    Args:
        index: The index, in which partitions may wait and none continues.
        path: Where it will lie; its ``members/`` are there already.
        before_path: The published index of the same assigner.
        chosen: Weights, point and FLOPs of that index's specialists.
        put_back: Puts back what these continue from.
        asked: The settings.
        trainings: Whole trainings of a partition's search.
        deployed: What specialists start from in place of their trained weights.

    Returns:
        The index. Where a partition continues, or keeps a specialist that does, it has
        ``continued``; see :class:`shoal.formats.documents.index.PartitionEntry`.
    """
    now, before = Index(path, cast("PartitionIndex", index)), Index(before_path)
    held = {int(entry["partition"]): entry for entry in before.trained}
    entries = []
    for entry in index["partitions"]:
        number = int(entry["partition"])
        if entry["trained"] and number in held:
            entry = _continue(  # noqa: PLW2901 - the same entry
                entry, held[number], now, before, chosen, put_back, asked, trainings, deployed
            )
        entries.append(entry)
    found = {**index, "partitions": entries}
    return found | {"root": roots(found)}


def start_at_copy(copy: str, deployed: Deployed | None) -> dict[str, Any]:
    """What an index says of a model that starts from what is deployed.

    Args:
        copy: Identity of the copy; empty where it starts from trained weights.
        deployed: The last release's copy.
    """
    if not copy:
        return {}
    moves = None if deployed is None else deployed.moves
    return {"copy": copy} if moves is None else {"copy": copy, "moves": moves}


def renamed(continued: Mapping[str, Any], before: Path, path: Path) -> dict[str, Any]:
    """What an index says that a model continues from, with paths as another index names them.

    Args:
        continued: What the one says.
        before: Its file.
        path: The other's.
    """
    files = {
        name: name_of_file(path, named_file(before, continued[name]))
        for name in ("index", "weights")
        if continued[name]
    }
    return {**continued, **files}


def _continue(
    entry: dict[str, Any],
    old: PartitionEntry,
    now: Index,
    before: Index,
    chosen: Chosen,
    put_back: PutBack | None,
    asked: Continuing,
    trainings: float,
    deployed: Deployed | None,
) -> dict[str, Any]:
    """A partition's entry with the specialist that it keeps, or continues from."""
    if "waiting" in entry:
        own = old.get("continued")
        return entry if own is None else entry | {"continued": renamed(own, before.path, now.path)}
    number, rows = int(entry["partition"]), entry["rows"]["train"]
    lost, found = 0, False
    for each in _ancestors(number, before, chosen, put_back, deployed):
        found = True
        try:
            changes = _changes(each.index, now, number)
        except SourceError:
            continue
        removed = sum(gone for _, gone in changes)
        if removed:
            lost = lost or removed
            continue
        (added, _), (choosing, _) = changes
        rewound = {"rewound": {"removed": lost, "links": each.links}} if lost else {}
        kept: dict[str, Any] = {"specialist": each.specialist} | rewound
        if each.continued is not None:
            kept["continued"] = renamed(each.continued, each.path, now.path)
        if not added and choosing:
            held = rows + entry["rows"]["validation"]
            share = round(choosing / held, 6)
            place = name_of_file(now.path, each.index)
            kept["waiting"] = {"index": place, "added": choosing, "removed": 0, "share": share}
        if not added:
            return entry | kept
        if each.links >= asked.longest:
            return entry | {"cold": f"{each.links} links"}
        drawn = min(rows - added, math.floor(asked.history * added))
        copy = start_at_copy(each.copy, deployed)
        if (added + drawn) * trainings_of(copy) >= rows * trainings:
            return entry | {"cold": "new rows and history cost as much as all rows"}
        return entry | rewound | _link(entry, each, copy, added, drawn, now.path, asked)
    return entry | {"cold": _why_cold(lost, found)}


def _why_cold(lost: int, found: bool) -> str:
    if lost:
        return f"{lost} removed, which every specialist before has seen"
    return "rows of the one before are gone" if found else "the one before is gone"


def _link(
    entry: Mapping[str, Any],
    parent: _Ancestor,
    copy: dict[str, Any],
    added: int,
    drawn: int,
    path: Path,
    asked: Continuing,
) -> dict[str, Any]:
    mixing = asked.mixing.as_json()
    name = rows_id(parent.specialist, entry["specialist"], mixing, *copy.values())
    return {
        "specialist": link_name(name, settings_id(parent.point)),
        "continued": {
            "index": name_of_file(path, parent.index),
            "specialist": parent.specialist,
            "weights": name_of_file(path, parent.weights),
            **copy,
            "point": parent.point,
            "added": added,
            "drawn": drawn,
            "links": parent.links + 1,
            "spent": parent.spent,
            "mixing": mixing,
        },
    }


def _ancestors(
    number: int,
    before: Index,
    chosen: Chosen,
    put_back: PutBack | None,
    deployed: Deployed | None,
) -> Iterator[_Ancestor]:
    """The specialist of a partition, what it continues from, and so on; those that are there."""
    entry, path = before.partitions[number], before.path
    since = named_file(path, entry["waiting"]["index"]) if "waiting" in entry else path
    found = chosen(entry)
    links = entry["continued"]["links"] if "continued" in entry else 0
    if found is not None:
        weights, point, spent = found
        start, copy = weights, ""
        if deployed is not None and (of := deployed.of(number, weights)) is not None:
            start, copy = of, deployed.copy
        own = entry.get("continued")
        yield _Ancestor(entry["specialist"], since, start, point, spent, links, own, path, copy)
    while (continued := entry.get("continued")) is not None:
        index = named_file(path, continued["index"])
        weights = named_file(path, continued["weights"])
        if not index.exists():
            return
        entry, child, path = Index(index).partitions[number], continued, index
        if weights.exists() or (put_back is not None and put_back(continued, weights)):
            yield _Ancestor(
                child["specialist"],
                index,
                weights,
                child["point"],
                child["spent"],
                child["links"] - 1,
                entry.get("continued"),
                path,
                child.get("copy", ""),
            )


def _changes(before_path: Path, now: Index, number: int) -> list[tuple[int, int]]:
    """Rows added and removed: of training, and where trainings stop early of the choosing half.

    Raises:
        SourceError: Rows of the index before are gone.
    """
    before, found = Index(before_path), []
    stops_early = bool(now.content.get("stops_early"))
    for fold in ("train", "validation") if stops_early else ("train",):
        old, new = set(before.places(number, fold)), set(now.places(number, fold))
        choosing = fold == "validation"
        gone, came = (_hashes(each, choosing=choosing) for each in (old - new, new - old))
        found.append(multiset_change(gone, came))
    return found if stops_early else [*found, (0, 0)]


def _hashes(places: Places, *, choosing: bool = False) -> Hashes:
    parts = [np.empty((0, ROW_HASH_BYTES), dtype=np.uint8)]
    for path, start, stop in sorted(places):
        with ShardRows(path) as store:
            names = store.names(("hash", "key", UNIT) if choosing else ("hash",))
            rows = {name: store.read(name, start, stop) for name in names}
        parts.append((choosing_rows(rows) if choosing else rows)["hash"])
    return np.concatenate(parts)
