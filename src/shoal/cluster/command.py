"""Commands ``cluster-fit``, ``assign`` and ``partition``."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.formats.blocks import MEMORY
from shoal.formats.documents.index import Summary
from shoal.formats.files import replacing
from shoal.formats.hashing import file_hash
from shoal.formats.json_file import read_made, write_json
from shoal.formats.provenance import made_from

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.cluster.assigner import AtomAssigner, ColumnAssigner, Placed
    from shoal.embed.embedder import Embedder
    from shoal.formats.row_store import ShardRows
    from shoal.partitions.continuing import Chosen, Deployed, PutBack
    from shoal.partitions.generalist import OfGeneration
    from shoal.settings.discovery import ColumnPartition, HDBSCANAtoms, KMeansAtoms
    from shoal.settings.running import Continuing

_WRITE_ROWS = 4096


def cluster_fit(
    settings: KMeansAtoms | HDBSCANAtoms | ColumnPartition,
    rows: Sequence[Path],
    embedder_path: Path,
    tables: Sequence[Path],
    out: Path,
    ledger_out: Path,
    threads: int,
) -> None:
    """Fit an assigner that needs no model on the training fold.

    Args:
        settings: The choices.
        rows: Encoded shards.
        embedder_path: The embedder.
        tables: Their tables, which only an assigner by column reads.
        out: The assigner.
        ledger_out: Its ledger.
        threads: CPU threads; the bits depend on it.
    """
    from threadpoolctl import threadpool_limits

    from shoal.cluster.assigner import fit_column
    from shoal.cluster.fit import fit_assigner
    from shoal.cluster.sample import training_sample
    from shoal.embed.apply import on_threads
    from shoal.embed.embedder import load_embedder
    from shoal.formats.ledger import Ledger
    from shoal.formats.tables import Table

    ledger, embedder = Ledger("cluster_fit"), load_embedder(embedder_path)
    assigner: AtomAssigner | ColumnAssigner
    if settings.method == "column":
        readers = (Table(path) for path in tables)
        assigner = fit_column(settings.column, readers, settings.max_partitions)
    else:
        with on_threads(threads, embedder.method):
            drawn = training_sample(rows, embedder, settings.fit_rows, settings.seed)
        sample, training_rows = drawn
        import sklearn.cluster  # noqa: F401 - its thread pools are limited only once loaded

        with threadpool_limits(threads):
            assigner, ledger.flops = fit_assigner(settings, sample, training_rows)
        ledger.rows_read = training_rows
    ledger.facts = found(assigner, embedder)
    assigner.save(out)
    ledger.write(ledger_out)


def found(assigner: AtomAssigner | ColumnAssigner, embedder: Embedder) -> dict[str, float]:
    """Facts of an assigner that are not known before it is fitted, for its ledger."""
    placing = float(embedder.flops_per_row + assigner.flops_per_row)
    return {"placing": placing, "partitions": float(assigner.partitions)}


def assign(
    rows: Path,
    embedder_path: Path,
    table: Path,
    assigner_path: Path,
    shard: str,
    rows_out: Path,
    summary_out: Path,
    distances_out: Path,
    threads: int,
    memory: int = MEMORY,
    *,
    by_group: bool = False,
) -> None:
    """Group one shard's rows by partition and fold, with a digest's share for each group.

    Holds 170 bytes per row of the shard while it sorts; inputs are gathered from it in as many
    passes as the memory asks for.

    Args:
        rows: The encoded shard.
        embedder_path: The embedder.
        table: Its table, which only an assigner by column reads.
        assigner_path: The assigner.
        shard: Name of the shard.
        rows_out: The rows in order of partition (-1 first), fold, runner-up and row hash.
        summary_out: Place, count and sum of row hashes of each group, and of the rows of each
            runner-up; count and sum of the validation rows by which grid points are chosen.
        distances_out: Distance to the nearest prototype of each validation row that has a
            partition, and its half (:func:`shoal.partitions.reader.halves`).
        threads: CPU threads; the bits depend on it.
        memory: Bytes that the process may hold; no result depends on it.
        by_group: Whether the rows of a group share partition, runner-up and distance: those of
            their row with the smallest key. A group is in one fold, rows outside of folds aside,
            which are placed by themselves.
    """
    from shoal.cluster.assigner import Placed, load_assigner
    from shoal.embed.apply import on_threads
    from shoal.embed.embedder import load_embedder
    from shoal.formats.fitted_state import save_state
    from shoal.formats.kinds import FOLDS, TRAIN, VALIDATION
    from shoal.formats.row_store import HASH, SOURCE, ShardRows, known_labels
    from shoal.formats.units import UNIT, leading
    from shoal.partitions.grouping import (
        ASKED_FOLDS,
        NO_RUNNER_UP,
        asked,
        choosing,
        group_order,
        groups,
    )
    from shoal.partitions.index import UNASSIGNED
    from shoal.partitions.reader import halves

    assigner, embedder = load_assigner(assigner_path), load_embedder(embedder_path)
    with ShardRows(rows) as source:
        names = source.names(("y", "key", SOURCE, "fold", UNIT))
        arrays = {name: source.read(name) for name in names}
        values = None
        if assigner.column is not None:
            values = _aligned_values(table, assigner.column, arrays["key"])
        with on_threads(threads, embedder.method):
            placed = _placed(assigner, embedder, source, values)
        if by_group:
            lead = leading(arrays["key"], arrays[UNIT], arrays["fold"])
            partition, runner_up, distance = placed
            placed = Placed(partition[lead], runner_up[lead], distance[lead])
        arrays["partition"] = placed.partition
        is_asked = np.isin(arrays["fold"], [FOLDS.index(fold) for fold in ASKED_FOLDS])
        arrays["runner_up"] = np.where(is_asked, placed.runner_up, np.int32(NO_RUNNER_UP))
        hashes = source.read(HASH)
        keys = (arrays["partition"], arrays["fold"], hashes, arrays["key"], arrays["runner_up"])
        order = group_order(*keys)
        _write_ordered(rows_out, arrays, order, source, memory)
    partition, fold, hashes, _, runner_up = (array[order] for array in keys)
    is_held = (fold == VALIDATION) & (partition != UNASSIGNED)
    held = order[is_held]
    half = halves({name: arrays[name][held] for name in ("key", UNIT) if name in arrays})
    distances = {"distance": placed.distance[held], "half": half.astype(np.uint8)}
    save_state(distances_out, distances, {})
    summary = {
        "shard": shard,
        "rows": len(order),
        "groups": groups(partition, fold, hashes),
        "asked": asked(runner_up, fold, hashes),
        "choosing": choosing(partition[is_held][half == 0], hashes[is_held][half == 0]),
    }
    unknown = ~known_labels(arrays["y"]) & (arrays["fold"] == TRAIN)
    summary["unknown_labels"] = int(unknown.sum())
    _write_compact(summary_out, summary | {"store": file_hash(rows_out)} | made_from())


def partition(
    summaries: Sequence[Path],
    assigner_path: Path,
    min_rows: int,
    lineage: str,
    stores: Path,
    out: Path,
    tolerance: float = 0.0,
    before: Path | None = None,
    released: Sequence[int] = (),
    *,
    continuing: Continuing | None = None,
    chosen: Chosen | None = None,
    put_back: PutBack | None = None,
    continues: bool = False,
    first: OfGeneration | None = None,
    trainings: float = 1.0,
    stops_early: bool = False,
    mixes: Sequence[Path] = (),
    deployed: Deployed | None = None,
) -> None:
    """Merge the shards' summaries into the index; write ``members/`` beside it.

    Args:
        summaries: Outputs of ``assign``, one per shard.
        assigner_path: The assigner.
        min_rows: Training rows below which a partition gets no specialist.
        lineage: Identity of all that was fitted and that training depends on.
        stores: Folder of the shards' row stores.
        out: ``index.json``. ``members/{partition}.json`` beside it says, for each fold, where the
            rows lie: ``[shard, start, stop]``; -1 is the rows of no partition.
        tolerance: Share of a specialist's rows that may have changed before it is trained again;
            row hashes are read only where it is more than none.
        before: The published index, if there is one of the same assigner.
        released: Partitions that wait no longer, whatever the share.
        continuing: Whether and how models continue.
        chosen: Weights, grid points and FLOPs of the specialists of the index before.
        put_back: Puts weights that those continue from back where they are gone.
        continues: Whether specialists may continue from those: they were made by the same code and
            settings, and by the same search.
        first: The generation's generalist; None while it is not trained, or where the generalist is
            trained for the current rows.
        trainings: Whole trainings of a partition's search.
        stops_early: Whether trainings stop early, so that a specialist is also made from the
            choosing half of its partition's validation rows.
        mixes: What was found of mixes, if they were compared: their best history is gone on by.
        deployed: The last release's copy, if models start from what is deployed.
    """
    from shoal.cluster.assigner import load_assigner
    from shoal.formats.documents.mixes import ComparedMixes
    from shoal.partitions.continuing import continue_specialists
    from shoal.partitions.generalist import continue_generalist
    from shoal.partitions.index import merge_summaries
    from shoal.partitions.tolerance import wait

    partitions = load_assigner(assigner_path).partitions
    contents = (read_made(path, Summary) for path in summaries)
    index, members = merge_summaries(
        contents, partitions, min_rows, lineage, stops_early=stops_early
    )
    index["stores"] = os.path.relpath(stores, out.parent)
    for number, ranges in members.items():
        _write_compact(out.parent / "members" / f"{number}.json", ranges)
    if tolerance > 0 and before is not None:
        index = wait(index, out, before, tolerance, released)
    if continuing is not None and continuing.method != "none":
        before = before if continues else None
        for path in mixes:
            index["mixes"] = read_made(path, ComparedMixes)["found"]
            history = {"history": index["mixes"]["history"]}
            continuing = continuing.model_copy(update=history)
        if before is not None and chosen is not None:
            index = continue_specialists(
                index, out, before, chosen, put_back, continuing, trainings, deployed
            )
        if first is not None:
            index = continue_generalist(index, out, before, first, continuing, trainings, deployed)
    write_json(out, index | made_from())


def _aligned_values(table_path: Path, column: str, keys: NDArray[np.uint8]) -> list[Any]:
    """Values of a column, after checking that the table's rows are the encoded ones."""
    from shoal.cluster.assigner import column_values
    from shoal.errors import DataError
    from shoal.formats.tables import Table

    reader = Table(table_path)
    values, their_keys = column_values(reader, column)
    reader.close()
    if not np.array_equal(their_keys, keys):
        raise DataError(
            f"{table_path}: its rows are not those of its encoded shard; one of them is left "
            f"from other data, run the workflow again"
        )
    return values


def _placed(
    assigner: AtomAssigner | ColumnAssigner,
    embedder: Embedder,
    encoded: ShardRows,
    values: Sequence[Any] | None,
) -> Placed:
    """Partition, runner-up and distance of each row, block by block.

    Raises:
        DataError: An embedding is not finite.
    """
    from shoal.cluster.assigner import Placed
    from shoal.embed.apply import embed_checked

    parts = [Placed(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))]
    start = 0
    for block in encoded.blocks(["x"]):
        stop = start + len(block["x"])
        embedding = embed_checked(embedder, block["x"], encoded.path, np.arange(start, stop))
        parts.append(assigner.place(embedding, None if values is None else values[start:stop]))
        start = stop
    return Placed(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _write_ordered(
    path: Path,
    arrays: Mapping[str, NDArray[Any]],
    order: NDArray[np.int64],
    encoded: ShardRows,
    memory: int,
) -> None:
    """Write rows in order.

    Args:
        path: The row store.
        arrays: Arrays that are held.
        order: Place of each row to be written, int64 ``(rows,)``.
        encoded: The encoded rows, whose ``x`` is not held.
        memory: Bytes that the process may hold. As many rows as fit an eighth of it are gathered
            by one pass over the store, while those before may still be held.
    """
    from shoal.formats.row_store import SALT, RowArray, write_rows

    specs = {name: RowArray(array.shape[1:], str(array.dtype)) for name, array in arrays.items()}
    specs["x"] = encoded.row_array("x")
    size = max(1, memory // (8 * max(1, specs["x"].row_bytes)))

    def batches() -> Iterator[dict[str, NDArray[Any]]]:
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            x = encoded.take("x", rows)
            for first in range(0, len(rows), _WRITE_ROWS):
                part = slice(first, first + _WRITE_ROWS)
                yield {name: array[rows[part]] for name, array in arrays.items()} | {"x": x[part]}

    attributes = {"rows_in": len(order), SALT: encoded.attributes[SALT]}
    write_rows(path, len(order), specs, batches(), attributes)


def _write_compact(path: Path, content: Mapping[str, object]) -> None:
    """JSON on one line: thousands of summaries are read at once, and indents cost seconds."""
    with replacing(path) as aside:
        aside.write_text(json.dumps(content, sort_keys=True, separators=(",", ":")) + "\n")
