"""Training rows that are no longer in the data, and which fits of the generation have seen them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.formats.documents.ledger import Artifact
from shoal.formats.json_file import read_made
from shoal.formats.provenance import KEY as MADE_FROM
from shoal.plan.layout import BASELINES, FIT_FILES
from shoal.sources.shards import shard_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from shoal.plan.plan import Plan


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


def seen_by_fits(plan: Plan, index: Mapping[str, Any]) -> list[Seen]:
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


def _bases(plan: Plan, index: Mapping[str, Any]) -> Iterator[tuple[str, frozenset[str]]]:
    """Each stage that is fitted, and the shards that it was fitted on."""
    for stage in FIT_FILES:
        record = plan.fit_record(stage)
        if record is not None:
            files = record.get("files", {})
            named = _of_sources(plan, files) if stage == "split" else _of_rows(files)
            yield stage, frozenset(named)
    ledgers = [names[1] for names in BASELINES.values()]
    paths = [path for name in ledgers if (path := plan.layout.baseline(index, name)).exists()]
    if paths:
        records = [read_made(path, Artifact).get(MADE_FROM, {}) for path in paths]
        yield (
            "baselines",
            frozenset(shard for record in records for shard in _of_rows(record.get("files", {}))),
        )


def _of_rows(files: Iterable[str]) -> Iterator[str]:
    """Shards whose rows are among the files ``…/rows/ID/SHARD.SUFFIX``."""
    for path in map(Path, files):
        if path.parent.parent.name == "rows":
            yield path.name.split(".")[0]


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
    own = _own_stores(plan, shard)
    others = (path for each in own for path in each.parent.parent.glob(f"*/{each.name}"))
    return next((path for path in (*own, *others) if path.exists()), None)


def _own_stores(plan: Plan, shard: str) -> list[Path]:
    return [plan.layout.shard_rows(stage, shard) for stage in ("encode", "cluster")]


def _training_hashes(path: Path | None) -> NDArray[np.uint8]:
    import numpy as np

    from shoal.formats.row_store import ShardRows
    from shoal.formats.tables import TRAIN

    if path is None:
        raise ValueError("a shard without a store has no hashes")
    with ShardRows(path) as store:
        hashes, folds = store.read("hash"), store.read("fold")
    return np.ascontiguousarray(hashes[folds == TRAIN])


def _mark(hashes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The first eight bytes of each hash, to sort out quickly what cannot be equal."""
    return hashes[:, :8].copy().view("<u8").ravel()
