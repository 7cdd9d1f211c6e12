"""Training rows that are no longer in the data, and which fits of the generation have seen them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shoal.formats.documents.ledger import Artifact
from shoal.formats.json_file import read_made
from shoal.formats.provenance import KEY as MADE_FROM
from shoal.plan.paths import glob, jobs_of, outputs, shards_of
from shoal.plan.stages import STAGES
from shoal.sources.shards import shard_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from shoal.formats.documents.index import PlannedIndex
    from shoal.operate.plan_document import SeenRows
    from shoal.plan.layout import Layout
    from shoal.plan.plan import Plan
    from shoal.plan.stages import Stage


@dataclass(frozen=True)
class Seen:
    """Rows that are gone and that some fits have seen.

    Attributes:
        stages: Stages whose fit of this generation was made with them.
        rows: How many, counted as often as they occurred; None where they are no longer kept.
        exact: Whether they are that many; otherwise other code encoded some of them, and rows
            that it encoded in another way are counted as gone.
    """

    stages: tuple[str, ...]
    rows: int | None
    exact: bool

    def as_json(self) -> SeenRows:
        """As the document of a plan has it."""
        return {"stages": self.stages, "rows": self.rows, "exact": self.exact}


def seen_by_fits(plan: Plan, index: PlannedIndex) -> list[Seen]:
    """Training rows, removed or edited since, that fits of the generation have seen.

    A row is its encoded content: one that moved to another file, or came back, is not gone.

    Args:
        plan: The experiment.
        index: Its partition index.
    """
    stages: dict[frozenset[str], list[str]] = defaultdict(list)
    for stage, shards in _bases(plan, index):
        stages[shards].append(stage)
    current = frozenset(plan.layout.shards)
    found = []
    for basis, names in stages.items():
        gone, arrived = sorted(basis - current), sorted(current - basis)
        rows = _removed(plan, gone, arrived) if gone else 0
        if rows != 0:
            exact = all(_store(plan, shard) in _own_stores(plan, shard) for shard in gone)
            found.append(Seen(tuple(names), rows, exact))
    return found


def _bases(plan: Plan, index: PlannedIndex) -> Iterator[tuple[str, frozenset[str]]]:
    """Each part of the generation that is fitted, and the shards that it was fitted on."""
    found: dict[str, set[str]] = {}
    for stage in STAGES.values():
        for job in jobs_of(plan.layout, stage) if stage.frozen else ():
            path = outputs(plan.layout, stage, job, index)[stage.record or ""]
            if path.exists():
                files = read_made(path, Artifact).get(MADE_FROM, {}).get("files", {})
                named = _of_sources(plan, files) if not stage.inputs else shards_of(files)
                found.setdefault(stage.identity, set()).update(named)
    yield from ((name, frozenset(shards)) for name, shards in found.items())


def _of_sources(plan: Plan, files: Mapping[str, str]) -> Iterator[str]:
    """Names that source files of these contents had as shards."""
    arrays = {str(path): names for path, names in plan.shards.values()}
    counts: Counter[str] = Counter()
    for path, content in files.items():
        names = arrays.get(path)
        counts[shard_name(Path(path), content, names)] += 1
    for name, copies in counts.items():
        yield from (name if copy == 1 else f"{name}-{copy}" for copy in range(1, copies + 1))


def _removed(plan: Plan, gone: list[str], arrived: list[str]) -> int | None:
    """Training rows of the shards that are gone, less those that are in the ones that arrived."""
    import numpy as np

    from shoal.formats.hashing import multiset_change

    paths = {shard: _store(plan, shard) for shard in (*gone, *arrived)}
    if None in paths.values():
        return None
    before = np.concatenate([_training_hashes(paths[shard]) for shard in gone])
    marks = np.sort(_mark(before))
    kept = [np.empty((0, before.shape[1]), np.uint8)]
    for shard in arrived:
        hashes = _training_hashes(paths[shard])
        kept.append(hashes[np.isin(_mark(hashes), marks)])
    return multiset_change(before, np.concatenate(kept))[1]


def _store(plan: Plan, shard: str) -> Path | None:
    """A store with the shard's row hashes, by today's code if there is one; None without any."""
    by_any_code = (
        path
        for stage in (STAGES["encode"], STAGES["assign"])
        for path in plan.root.glob(_by_any_code(plan.layout, stage, shard))
    )
    own = _own_stores(plan, shard)
    return next((path for path in (*own, *by_any_code) if path.exists()), None)


def _by_any_code(layout: Layout, stage: Stage, shard: str) -> str:
    """Pattern of what a fit of this generation made of a shard."""
    fit = {f"{stage.identity}_id": layout.fits[stage.identity]}
    return glob(stage, "rows", generation=layout.generation, shard=shard, **fit)


def _own_stores(plan: Plan, shard: str) -> list[Path]:
    return [plan.layout.file(name, shard=shard) for name in ("encode.rows", "assign.rows")]


def _training_hashes(path: Path | None) -> NDArray[np.uint8]:
    import numpy as np

    from shoal.formats.kinds import TRAIN
    from shoal.formats.row_store import ShardRows

    if path is None:
        raise ValueError("a shard without a store has no hashes")
    with ShardRows(path) as store:
        hashes, folds = store.read("hash"), store.read("fold")
    return np.ascontiguousarray(hashes[folds == TRAIN])


def _mark(hashes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The first eight bytes of each hash, to sort out quickly what cannot be equal."""
    return hashes[:, :8].copy().view("<u8").ravel()
