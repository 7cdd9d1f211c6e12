"""Content of the report beside the metrics: partitions, map, accounting, compute, lineage."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.cluster.assigner import AtomAssigner
from shoal.evaluate.against_usual import USUAL
from shoal.evaluate.intervals import score_intervals
from shoal.formats.documents.choice import Choice
from shoal.formats.documents.ledger import LedgerRecord
from shoal.formats.documents.weights import BaselineFacts
from shoal.formats.hashing import uniform
from shoal.formats.json_file import read_made
from shoal.formats.text import share_text
from shoal.formats.units import UNIT
from shoal.report.evaluation import Candidate, PartitionReport, ReportDetails, StageCost
from shoal.training.metrics import partition_scores, partition_units
from shoal_edge.routing import BASE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.evaluate.judge import Paths, TestRows
    from shoal.evaluate.other_variant import OtherGeneralist
    from shoal.formats.documents.plan import RunSettings
    from shoal.formats.kinds import Metric
    from shoal.partitions.reader import Index
    from shoal.pool.pool import Pool
    from shoal.settings.learning import Evaluate


def report_details(
    settings: Evaluate,
    content: RunSettings,
    paths: Paths,
    pool: Pool,
    index: Index,
    tested: TestRows,
    per_row: Mapping[str, NDArray[np.float64]],
    metric: Metric,
    other: OtherGeneralist | None = None,
) -> ReportDetails:
    """Everything the page needs, gathered from the run's small files."""
    ledgers = [read_made(path, LedgerRecord) for path in paths.pool_ledgers]
    places, points = _map(settings, tested)
    rows_in, dropped, added = _accounting(paths.tables)
    return ReportDetails(
        experiment=content["name"],
        generation=content["generation"],
        partitions=_partitions(paths.choices, pool, index, tested, per_row, metric),
        map_points=points,
        map_partition=tested.rows["partition"][places],
        map_method=settings.map,
        rows_in=rows_in,
        dropped=dropped,
        added=added,
        stages=_stages(ledgers),
        intervals=score_intervals(metric, per_row, tested.rows.get(UNIT)),
        trained_on=_trained_on(paths, index, [name for name in USUAL if name in per_row], other),
        settings=content,
        lineage=_lineage(pool, index),
        candidates=_candidates(pool),
        cluster=str(paths.cluster or ""),
        answers=str(paths.answers or ""),
        versions=ledgers[-1]["versions"] | {"shoal": pool.manifest.shoal},
    )


def _lineage(pool: Pool, index: Index) -> dict[str, str]:
    """Digests of the rows, and the kind of each column with its reason."""
    lineage = {f"rows ({name})": str(root) for name, root in index.content["root"].items()}
    for name, kind in pool.columns.kinds.items():
        reason = pool.columns.inferred.get(name)
        lineage[f"column {name}"] = f"{kind}, inferred: {reason}" if reason else f"{kind}, declared"
    return lineage


def _candidates(pool: Pool) -> list[Candidate]:
    """Numbers of partitions that probes have tried, where the number was chosen so."""
    assigner = pool.router.assigner
    if not isinstance(assigner, AtomAssigner):
        return []
    taken = assigner.partitions
    return [
        Candidate(
            partitions=each["partitions"],
            loss=each["loss"],
            gain=each["gain"],
            standard_error=each["standard_error"],
            taken=each["partitions"] == taken,
        )
        for each in assigner.candidates
    ]


def _partitions(
    choices: Sequence[Path],
    pool: Pool,
    index: Index,
    tested: TestRows,
    per_row: Mapping[str, NDArray[np.float64]],
    metric: Metric,
) -> list[PartitionReport]:
    chosen = {c["partition"]: c for path in choices for c in (read_made(path, Choice),)}
    points = {e.partition: e.point.values for e in pool.manifest.specialists}
    partition = tested.rows["partition"]
    held = partition_units(partition, tested.rows.get(UNIT))
    scores = {
        name: partition_scores(metric, per_row[name], partition)
        for name in ("generalist", tested.shipped)
    }
    found = []
    for entry in index.partitions:
        number = int(entry["partition"])
        choice = chosen.get(number)
        losses: dict[str, float] = choice["losses"] if choice else {}
        found.append(
            PartitionReport(
                partition=number,
                rows=entry["rows"],
                test_units=held.get(number, 0),
                grid_point=points.get(number),
                server=_server(pool, number),
                base_loss=losses.get("base"),
                specialist_loss=losses.get(choice["point"]) if choice else None,
                generalist_score=scores["generalist"].get(number),
                pool_score=scores[tested.shipped].get(number),
                digest=entry["digests"]["train"],
            )
        )
    return found


def _server(pool: Pool, partition: int) -> str:
    """Who answers the rows of a partition's specialist."""
    expert = partition if partition in pool.experts.models else BASE
    share, own = pool.gate.shares[expert], "base" if expert == BASE else "specialist"
    return {0.0: "generalist", 1.0: own}.get(share, f"{own} {share_text(share)}, generalist")


def _map(settings: Evaluate, tested: TestRows) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Which test rows the map shows, and where."""
    from shoal.embed.picture import picture

    draws = uniform(tested.rows["key"], settings.seed, "map")
    places = np.sort(np.argsort(draws, kind="stable")[: settings.map_rows])
    embedding = tested.rows["embedding"][places]
    return places, picture(embedding, settings.map, settings.seed)


def _accounting(tables: Sequence[Path]) -> tuple[int, dict[str, int], dict[str, int]]:
    """Rows that reached transform, rows dropped and rows added there by step, over all shards."""
    from shoal.formats.tables import Table

    rows_in = 0
    dropped: Counter[str] = Counter()
    added: Counter[str] = Counter()
    for path in tables:
        table = Table(path)
        rows_in += table.record["rows_in"]
        dropped.update(table.record["dropped"])
        added.update(table.record.get("added", {}))
        table.close()
    return rows_in, dict(dropped), dict(added)


def _stages(ledgers: Sequence[LedgerRecord]) -> list[StageCost]:
    costs = []
    for rule in dict.fromkeys(ledger["job"] for ledger in ledgers):
        own = [ledger for ledger in ledgers if ledger["job"] == rule]
        flops = sum(ledger["flops"] for ledger in own)
        seconds = sum(ledger["seconds"] for ledger in own)
        memory = max(ledger["peak_memory_bytes"] for ledger in own)
        gpu = max(ledger["peak_gpu_memory_bytes"] for ledger in own)
        costs.append(StageCost(rule, len(own), flops, seconds, memory, gpu))
    return costs


def _trained_on(
    paths: Paths, index: Index, usual: Sequence[str], other: OtherGeneralist | None
) -> dict[str, str]:
    """Whether each baseline has seen the current training rows, in words."""
    from shoal.formats.fitted_state import opened_state

    current = index.content["root"]["train"]
    said = {}
    own = "generalist"
    if other is not None:
        said["generalist"], own = f"the training rows, by variant {other.variant}", "same_model"
    trained = {own: paths.generalist, "random_partitions": paths.random}
    trained |= dict.fromkeys(usual, paths.usual)
    for name, path in trained.items():
        with opened_state(path, BaselineFacts) as state:
            rows = state.meta["rows"]["train"]
            same = state.meta["trained_on"]["train"] == current
        said[name] = (
            f"the current {rows:,} training rows"
            if same
            else f"the {rows:,} training rows of the generation's start, not the current ones"
        )
    return said
