"""The files that the current plan, the generations and the kept releases reach."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from shoal.deploy.copies import RECORD, RESIDUAL
from shoal.formats.documents.index import PartitionIndex, named_file
from shoal.formats.documents.plan import Hashes
from shoal.formats.json_file import read_made
from shoal.plan.channel import BASES, copies_of, copy_of
from shoal.plan.growths import files_looked_for, recorded_files
from shoal.plan.history import History
from shoal.plan.jobs import files_of
from shoal.plan.layout import Layout
from shoal.plan.paths import fitted_on, glob, index_at_fit
from shoal.plan.plan import homes
from shoal.plan.run_file import FOLDER
from shoal.plan.stages import PACKS, STAGES
from shoal.training.resume import output_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shoal.formats.documents.index import Continued
    from shoal.formats.documents.plan import Release
    from shoal.plan.plan import Plan


@dataclass
class Reach:
    """Files that are kept, and folders that are kept with all that is in them."""

    files: set[Path] = field(default_factory=set)
    folders: set[Path] = field(default_factory=set)

    def covers(self, path: Path) -> bool:
        """Whether a file is kept; a checkpoint is as long as the output beside it is missing."""
        output = output_of(path)
        if output is not None:
            return not output.exists() and self.covers(output)
        return path in self.files or not self.folders.isdisjoint(path.parents)

    def add_copy(self, manifest: Path) -> None:
        """Keep a copy for devices, and what lies beside it."""
        self.folders.add(manifest.parent)
        self.files |= {manifest.parent.with_name(name) for name in (RECORD, RESIDUAL)}

    def add(self, layout: Layout) -> None:
        """Keep a layout's files, and what its generation and its waiting partitions refer to.

        Raises:
            ShoalError: An index or a fit's record does not read, so what it refers to is unknown.
        """
        index = layout.read_index()
        jobs = list(layout.early_jobs())
        if index is not None:
            jobs += layout.later_jobs(index)
            self.folders.add(layout.file("pool.manifest", index).parent)
            if layout.after:
                self.add_copy(Path(copy_of(layout, index)["manifest"]))
            self.files |= set(_gone_back_to(layout, index))
        self.files |= {*files_of(jobs), *_baselines(layout)}
        self.files |= {*_basis_rows(layout), *_fit_time(layout)}
        # Where an index's rows lie is said beside it.
        self.folders |= {path.parent for path in self.files if path.name == "index.json"}


def reach(plans: Sequence[Plan], keep: int) -> Reach:
    """Files that the current plans, the generation of the next run and the last releases reach.

    Args:
        plans: The experiment's variants. What others have published is kept like theirs.
        keep: Number of releases, different from each other, the last ones of each variant.
    """
    found = Reach()
    root = plans[0].root
    for plan in plans:
        found.files |= {plan.run_file, *files_looked_for(plan.layout, plan.growth)}
        begun = replace(plan.layout, generation=f"g{plan.history.generation}")
        for layout in (plan.layout, begun):
            found.add(layout)
    for home in homes(root):
        copies = copies_of(reversed(History(home).entries))[: BASES + 1]
        for each in copies:
            found.add_copy(Path(each["manifest"]))
        for record in _released(History(home), keep):
            found.add(Layout.from_json(record["layout"]))
            if run := record.get("run"):
                found.files.add(root / FOLDER / f"{run}.json")
    found.files |= {*_packs(root, found), *_growths(root, found)}
    return found


def _packs(root: Path, found: Reach) -> Iterator[Path]:
    """Remains of the packs that made some file that is kept."""
    for status in (path for stage in PACKS for path in root.glob(glob(stage, "status"))):
        made = read_made(status, Hashes).items()
        if any(found.covers(Path(folder, name)) for folder, names in made for name in names):
            yield from (status, status.parent / "members" / status.name)


def _growths(root: Path, found: Reach) -> Iterator[Path]:
    """Growths in use of assigners that are kept."""
    for assigner in root.glob(glob(STAGES["cluster_fit"], "assigner")):
        if found.covers(assigner):
            yield from recorded_files(assigner)


def _released(history: History, keep: int) -> list[Release]:
    """The last releases, different from each other."""
    records = [*reversed(history.entries)]
    if history.current is not None:
        records.insert(0, history.current)
    kept: dict[str, Release] = {}
    for record in records:
        if len(kept) < keep:
            kept.setdefault(record["release"], record)
    return list(kept.values())


def _baselines(layout: Layout) -> list[Path]:
    """The baselines that are trained once per generation, also where newer ones are in use."""
    return [*layout.frozen_baselines(), *layout.frozen_baselines("incomplete")]


def _gone_back_to(layout: Layout, index: PartitionIndex) -> Iterator[Path]:
    """Indexes that have the rows of models in use, or of what these continue from.

    Also the row stores that they name, and the weights that may be continued from.
    """
    from shoal.partitions.index import UNASSIGNED
    from shoal.partitions.reader import Index

    now = Index(layout.index, index)
    for entry in index["partitions"]:
        number = int(entry["partition"])
        if "waiting" in entry:
            since = named_file(layout.index, entry["waiting"]["index"])
            yield from _index_and_rows(since, [number])
        yield from _parents(now.path, entry.get("continued"), [number])
    numbers = [UNASSIGNED, *range(len(index["partitions"]))]
    yield from _parents(now.path, index.get("continued"), numbers)


def _parents(path: Path, continued: Continued | None, numbers: Sequence[int]) -> Iterator[Path]:
    """Files of what a model of some partitions' rows continues from, and so on."""
    while continued is not None and continued["weights"]:
        weights = named_file(path, continued["weights"])
        yield from (weights, weights.with_name("ledger.json"), weights.with_suffix(".json"))
        if not continued["index"]:
            return
        path = named_file(path, continued["index"])
        yield from _index_and_rows(path, numbers)
        if not path.exists():
            return
        before = read_made(path, PartitionIndex)
        continued = (
            before["partitions"][numbers[0]].get("continued")
            if len(numbers) == 1
            else before.get("continued")
        )


def _index_and_rows(path: Path, numbers: Sequence[int]) -> Iterator[Path]:
    """An index, and the row stores of some of its partitions, as far as it has them."""
    from shoal.partitions.grouping import FOLD_NAMES
    from shoal.partitions.reader import Index

    yield path
    if path.exists():
        since = Index(path)
        for number in numbers:
            for fold in FOLD_NAMES if number < len(since.partitions) else ():
                yield from (store for store, _, _ in since.places(number, fold))


def _basis_rows(layout: Layout) -> Iterator[Path]:
    """Rows that the generation was fitted on: drift and removals are told by them."""
    fits = files_of(job for job in layout.early_jobs() if STAGES[job.rule].frozen)
    records = (path for path in (*fits, *_baselines(layout)) if path.suffix == ".json")
    for shard in sorted({shard for path in records for shard in fitted_on(path)}):
        paths = [layout.file(name, shard=shard) for name in ("assign.rows", "encode.rows")]
        yield next((path for path in paths if path.exists()), paths[0])


def _fit_time(layout: Layout) -> Iterator[Path]:
    """Index and choices of the rows that the assigner was fitted on: drift compares with them."""
    path = index_at_fit(layout)
    if path.exists():
        yield path
        yield from (layout.choice(entry) for entry in read_made(path, PartitionIndex)["partitions"])
