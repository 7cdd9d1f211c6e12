"""Commands ``drift-sample`` and ``evaluate-drift``: rows that arrived against rows before.

Rows are found by content. Drawn rows alone are read and embedded.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.cluster.assigner import AtomAssigner
from shoal.cluster.grow import Drawn, find_atoms
from shoal.embed.apply import on_threads
from shoal.embed.embedder import load_embedder
from shoal.evaluate.drift import (
    Loss,
    PartitionChange,
    Sample,
    compare,
    loss_rise,
    recommend,
)
from shoal.formats.documents.choice import Choice
from shoal.formats.fitted_state import load_state, save_state
from shoal.formats.hashing import ROW_HASH_BYTES, copies, more_often, uniform
from shoal.formats.json_file import read_made, write_json
from shoal.formats.kinds import FOLDS, TEST, TRAIN, VALIDATION
from shoal.formats.provenance import made_from
from shoal.formats.row_store import ShardRows
from shoal.formats.units import UNIT
from shoal.partitions.index import UNASSIGNED
from shoal.partitions.reader import Index
from shoal.train_router.router import Router
from shoal.training.determinism import deterministic

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.evaluate.drift import Change, Flags, Rows
    from shoal.settings.running import Drift

    Losses = Mapping[int, Loss]

_IN_FOLDS = (TRAIN, VALIDATION, TEST)
_UNSEEN = (VALIDATION, TEST)


@dataclass(frozen=True)
class RowPlaces:
    """Places of rows with partition, hash and unit; 56 bytes per row.

    Attributes:
        paths: The stores.
        store: Place of the row's store among them, int32 ``(rows,)``.
        row: Place in that store, int64 ``(rows,)``.
        partition: int32 ``(rows,)``.
        hash: Row hashes, uint8 ``(rows, ROW_HASH_BYTES)``.
        unit: Unit of each row, uint64 ``(rows,)``; None where each is its own.
    """

    paths: tuple[Path, ...]
    store: NDArray[np.int32]
    row: NDArray[np.int64]
    partition: NDArray[np.int32]
    hash: NDArray[np.uint8]
    unit: NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        return len(self.row)

    def take(self, chosen: NDArray[Any]) -> RowPlaces:
        """The chosen rows, by place or by flag."""
        columns = (self.store, self.row, self.partition, self.hash)
        unit = None if self.unit is None else self.unit[chosen]
        taken = RowPlaces(self.paths, *(column[chosen] for column in columns))
        return replace(taken, unit=unit)

    @property
    def identity(self) -> NDArray[np.uint8]:
        """Partition and hash, uint8 ``(rows, 4 + ROW_HASH_BYTES)``."""
        number = self.partition.astype(">i4").view(np.uint8).reshape(-1, 4)
        return np.concatenate([number, self.hash], axis=1)


@dataclass(frozen=True)
class _Drawn:
    """Rows drawn on one side, in order of draw, at most so many of each partition.

    Attributes:
        embedding: float32 ``(rows, dims)``.
        partition: int32 ``(rows,)``.
        unit: Unit of each row, uint64 ``(rows,)``; None where each is its own.
    """

    embedding: Rows
    partition: NDArray[np.int32]
    unit: NDArray[np.uint64] | None = None

    @classmethod
    def of(cls, rows: RowPlaces, embedder_path: Path, settings: Drift, purpose: str) -> _Drawn:
        """Draw some of the rows and embed them."""
        drawn = smallest_draws(rows, settings.rows, settings.seed, purpose)
        return cls(embeddings_of(drawn, embedder_path), drawn.partition, drawn.unit)


@dataclass(frozen=True)
class _Side:
    """Rows drawn on one side, and which of them the assigner does not cover, ``(rows,)``."""

    rows: _Drawn
    beyond: Flags

    def part(self, chosen: NDArray[Any]) -> Sample:
        """Some of the rows."""
        return Sample(self.rows.embedding[chosen], self.beyond[chosen])

    def first(self, limit: int) -> Sample:
        """The first rows of all partitions together, one of each unit."""
        units = self.rows.unit
        if units is None:
            return self.part(np.arange(min(limit, len(self.beyond))))
        return self.part(np.sort(np.unique(units, return_index=True)[1])[:limit])


def drift_sample(drift: Drift, basis: Sequence[Path], embedder_path: Path, out: Path) -> None:
    """Draw rows that the generation was fitted on, for all rows that arrive to be compared with.

    They are of the validation and test folds, see :mod:`shoal.evaluate.drift`. Holds some 100
    bytes per row of these, the drawn embeddings, and the drawn inputs of one store.

    Args:
        drift: The choices.
        basis: Row stores of the shards that the generation was fitted on.
        embedder_path: The embedder.
        out: The rows in order of draw, safetensors: ``embedding``, ``partition``, and ``unit``
            where rows belong together.
    """
    drawn = _Drawn.of(read_places(basis, _UNSEEN), embedder_path, drift, "before")
    tensors = {"embedding": drawn.embedding, "partition": drawn.partition}
    save_state(out, tensors if drawn.unit is None else tensors | {UNIT: drawn.unit}, {})


def evaluate_drift(
    drift: Drift,
    index_path: Path,
    basis: Sequence[Path],
    sample_path: Path,
    router_path: Path,
    embedder_path: Path,
    choices: Sequence[Path],
    choices_before: Sequence[Path],
    out: Path,
) -> None:
    """Compare rows that arrived since the generation was fitted with those that it was fitted on.

    Rows are those of the training, validation and test folds; two are the same if their content
    and partition are. Rows before are represented by those that :func:`drift_sample` drew. Reads
    the hashes of stores that are not in use both then and now, and the inputs of the drawn rows
    that arrived. Holds some 300 bytes per row of these, the drawn embeddings, and the drawn inputs
    of one store.

    Args:
        drift: The choices.
        index_path: The partition index of now.
        basis: Row stores of the shards that the generation was fitted on.
        sample_path: What :func:`drift_sample` drew; read where something arrived.
        router_path: The router, for assigner and threshold.
        embedder_path: The embedder.
        choices: The choice of each partition of now.
        choices_before: The same of the time when the generation was fitted; may be empty.
        out: JSON: ``overall`` and ``partitions`` (keys as in :class:`PartitionChange`; rows of no
            partition are in ``overall`` alone) and ``recommendation``. The same bytes for the
            same rows, however they are cut into shards.
    """
    index = Index(index_path)
    arrived, counts = _counts(index, basis)
    if len(arrived):
        deterministic(1)
    router = Router.from_state(*load_state(router_path)) if len(arrived) else None
    before, after = _sides(drift, router, embedder_path, sample_path, arrived)
    all_rows = [sum(column) for column in zip(*counts.values(), strict=True)]
    old, new = (side.first(drift.rows) for side in (before, after))
    overall = compare(all_rows, old, new, drift.seed)
    losses = _losses(choices_before), _losses(choices)
    partitions = []
    for number in range(len(index.partitions)):
        old, new = (side.part(side.rows.partition == number) for side in (before, after))
        change = compare(counts[number], old, new, drift.seed)
        partitions.append(_with_losses(number, change, losses, tested=len(arrived) > 0))
    trained = {int(read_made(path, Choice)["partition"]) for path in choices}
    candidates = [part for part in partitions if part.partition in trained]
    old, new = (side.first(drift.rows) for side in (before, after))
    kind = _new_kind(router, new, old, (overall.arrived, overall.rows_before), drift.seed)
    recommendation = recommend(overall, candidates, drift.level, kind)
    content = {
        "overall": asdict(overall),
        "partitions": [asdict(part) for part in partitions],
        "recommendation": recommendation._asdict(),
    }
    write_json(out, content | made_from())


def _counts(
    index: Index, basis: Sequence[Path]
) -> tuple[RowPlaces, dict[int, tuple[int, int, int]]]:
    """Rows that arrived, and for each partition: rows before, arrived and gone."""
    held = {entry["partition"]: entry["rows"] for entry in index.partitions}
    held[UNASSIGNED] = index.content["untrained_rows"]
    now = {n: rows["train"] + rows["validation"] + rows["test"] for n, rows in held.items()}
    places = [place for number in now for fold in FOLDS for place in index.places(number, fold)]
    stores = {path.resolve() for path, _, _ in places}
    stores_before = {path.resolve() for path in basis}
    # Stores that are there on both sides cancel out.
    new = read_places(sorted(stores - stores_before), _IN_FOLDS)
    old = read_places(sorted(stores_before - stores), _IN_FOLDS)
    arrived, gone = surplus(new, old), surplus(old, new)
    counts = {}
    for number, rows in now.items():
        came, went = (int((part.partition == number).sum()) for part in (arrived, gone))
        counts[number] = (rows - came + went, came, went)
    return arrived, counts


def _sides(
    settings: Drift,
    router: Router | None,
    embedder_path: Path,
    sample_path: Path,
    arrived: RowPlaces,
) -> tuple[_Side, _Side]:
    """Rows before and rows that arrived, drawn; no rows on either side where nothing arrived."""
    after = _Drawn.of(arrived, embedder_path, settings, "arrived")
    before = _Drawn(**load_state(sample_path)[0]) if len(arrived) else after
    beyond = [rows.partition == UNASSIGNED for rows in (before, after)]
    if router is not None and isinstance(router.assigner, AtomAssigner):
        embeddings = (before.embedding, after.embedding)
        beyond = _far(router.assigner, router.threshold, embeddings)
    return _Side(before, beyond[0]), _Side(after, beyond[1])


def _new_kind(
    router: Router | None, after: Sample, before: Sample, counts: tuple[int, int], seed: int
) -> float:
    """Share of the rows that arrived which lie where hardly any lay before."""
    if router is None or not isinstance(router.assigner, AtomAssigner):
        return 0.0
    came = Drawn.single(after.embedding, counts[0])
    were = Drawn.single(before.embedding, counts[1])
    return find_atoms(router.assigner, came, were, seed).share


def _far(assigner: AtomAssigner, threshold: float, embeddings: Sequence[Rows]) -> list[Flags]:
    """Rows beyond the threshold, or farther than every row before.

    A router that is fitted again when validation rows arrive has a threshold that makes room for
    them. Rows that are farther than any row before are found all the same.
    """
    before, after = (
        assigner.nearest(rows)[2].astype(np.float64) if len(rows) else np.empty(0)
        for rows in embeddings
    )
    limit = min(threshold, before.max(initial=0.0)) if len(before) else threshold
    return [before > limit, after > limit]


def _losses(choices: Sequence[Path]) -> dict[int, Loss]:
    """Validation loss of each partition's chosen grid point, where it was measured."""
    contents = [read_made(path, Choice) for path in choices]
    return {
        int(content["partition"]): Loss(
            content["losses"][content["point"]], content.get("units", content["rows"])
        )
        for content in contents
        if content["point"] in content["losses"]
    }


def _with_losses(
    number: int, change: Change, losses: tuple[Losses, Losses], *, tested: bool
) -> PartitionChange:
    before, after = (each.get(number) for each in losses)
    rise = loss_rise(before, after) if before and after and tested else None
    means = [loss.mean if loss else None for loss in (before, after)]
    return PartitionChange(
        **asdict(change),
        partition=number,
        loss_before=means[0],
        loss_after=means[1],
        loss_p_value=rise,
    )


def read_places(paths: Sequence[Path], folds: Collection[int]) -> RowPlaces:
    """Rows of some folds in stores that ``assign`` wrote.

    Args:
        paths: The stores.
        folds: Codes of the folds.
    """
    columns = [np.empty(0, dtype=kind) for kind in ("i4", "i8", "i4")]
    parts = [(*columns, np.empty((0, ROW_HASH_BYTES), dtype=np.uint8))]
    units = []
    for number, path in enumerate(paths):
        with ShardRows(path) as store:
            row = np.flatnonzero(np.isin(store.read("fold"), list(folds)))
            own = [store.read(name)[row] for name in ("partition", "hash")]
            units += [store.read(name)[row] for name in store.names([UNIT])]
        parts.append((np.full(len(row), number, np.int32), row, *own))
    arrays = (np.concatenate(part) for part in zip(*parts, strict=True))
    rows = RowPlaces(tuple(paths), *arrays)
    return replace(rows, unit=np.concatenate(units)) if units else rows


def surplus(rows: RowPlaces, other: RowPlaces) -> RowPlaces:
    """Rows that are there more often than in ``other``: of five copies against three, two."""
    return rows.take(more_often(rows.identity, other.identity))


def smallest_draws(rows: RowPlaces, limit: int, seed: int, purpose: str) -> RowPlaces:
    """At most ``limit`` rows of each partition, in an order that content and seed decide.

    Of rows that belong together, one in each partition: the tests take rows as drawn apart.

    The first ``limit`` of all are a draw from all of the rows, since each row's number does not
    depend on its partition's size. Every copy of a content draws its own number: if copies came
    together or not at all, a content with many copies would make two samples differ by chance.

    Args:
        rows: The rows.
        limit: Rows of a partition, at most.
        seed: Seed of the draw.
        purpose: Tells this draw from others.
    """
    copy = copies(rows.identity)[1].astype("<i8").view(np.uint8).reshape(-1, 8)
    draws = uniform(np.concatenate([rows.identity, copy], axis=1), seed, "drift", purpose)
    order = np.lexsort((draws, rows.partition))
    if rows.unit is not None:
        pairs = np.stack([rows.partition[order].astype(np.uint64), rows.unit[order]])
        order = order[np.sort(np.unique(pairs, axis=1, return_index=True)[1])]
    partition = rows.partition[order]
    rank = np.arange(len(order)) - np.searchsorted(partition, partition, side="left")
    kept = order[rank < limit]
    return rows.take(kept[np.argsort(draws[kept], kind="stable")])


def embeddings_of(rows: RowPlaces, embedder_path: Path) -> NDArray[np.float32]:
    """Embedding of each row, float32 ``(rows, dims)``; holds those inputs of a store at a time."""
    if not len(rows):
        return np.empty((0, 0), dtype=np.float32)
    embedder = load_embedder(embedder_path)
    embedding = np.empty((len(rows), embedder.dims), dtype=np.float32)
    with on_threads(1, embedder.method):
        for number in np.unique(rows.store).tolist():
            wanted = rows.store == number
            with ShardRows(rows.paths[number]) as store:
                embedding[wanted] = embedder.embed(store.take("x", rows.row[wanted]))
    return embedding
