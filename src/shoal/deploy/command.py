"""Command ``deploy-copy``: the next copy of a channel."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.deploy.copies import RECORD, CopyRecord, rounded_weights, save_residual, write_copy
from shoal.deploy.statistics import recalibrated
from shoal.errors import SourceError
from shoal.evaluate.prequential import Blocks, pool_of_run, units_of
from shoal.formats.hashing import file_hash
from shoal.formats.json_file import read_json, read_made, write_json
from shoal.formats.kinds import TRAIN, VALIDATION
from shoal.formats.provenance import made_from
from shoal.formats.scores import SCORES
from shoal.formats.tables import FOLD, Table, folds
from shoal.pool.manifest import GENERALIST_FILE, MANIFEST, specialist_file
from shoal.settings.deploying import Grid, Sparse
from shoal.terminal import say

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.deploy.copies import CopyScores, Exponents, Rounded
    from shoal.formats.documents.plan import RunSettings
    from shoal.formats.kinds import Metric
    from shoal.pool.pool import Pool
    from shoal.settings.deploying import Deploy
    from shoal.settings.learning import Evaluate
    from shoal.settings.running import Continuing


def deploy_copy(
    deploy: Deploy,
    evaluate: Evaluate,
    continuing: Continuing,
    resolved: RunSettings,
    pool: Path,
    tables: Sequence[Path],
    copy_before: Path | None,
    copy_id: str,
    after: str,
    manifest_out: Path,
    record_out: Path,
    threads: int,
    memory: int,
) -> None:
    """Make the channel's next copy of the pool, and compare its answers with the pool's.

    A copy on a grid that answers validation rows too much worse is not shipped: the exact copy
    takes its place, and the log says so.

    Args:
        deploy: The channel's settings.
        evaluate: The score.
        continuing: Whether statistics of normalisation stay as they are in training.
        resolved: The run's settings, whose model and functions the pool may import.
        pool: The pool's manifest.
        tables: Tables after ``split``.
        copy_before: Manifest of the copy that this one follows; None at the first.
        copy_id: The copy's identity.
        after: Identity of the copy before, or ``first``.
        manifest_out: The copy's manifest; its files come beside it.
        record_out: The record, JSON: :class:`shoal.deploy.copies.CopyRecord`.
        threads: CPU threads; the bits depend on it.
        memory: Bytes that the process may hold; no result depends on it.

    Raises:
        SourceError: The copy before is not there, or what it left out.
    """
    from shoal.training.determinism import deterministic

    if copy_before is None and after != "first":
        raise SourceError(
            f"{manifest_out}: the copy {after} that it follows is not there; bring it back from a "
            f"copy of the results"
        )
    deterministic(threads)
    folder = manifest_out.parent
    record: CopyRecord = {
        "id": copy_id,
        "after": after,
        "manifest": "",
        "bytes": 0,
        "method": "exact",
        "reason": None,
        "scores": None,
        "exponents": {},
    }
    if isinstance(deploy, Grid | Sparse):
        before = None if copy_before is None else copy_before.parent
        made = pool_of_run(pool.parent, resolved)
        keeps = continuing.method != "none" and continuing.buffers == "frozen"
        seed = int(copy_id, 16)
        rounded = _write_rounded(made, deploy, before, folder, tables, memory, keeps, seed)
        scores = _compared(made, pool_of_run(folder, resolved), evaluate, tables, memory)
        record["scores"] = scores
        lost = scores["lost"]
        if lost is not None and lost <= deploy.most_loss:
            record |= {"method": deploy.method, "exponents": rounded.exponents}
        else:
            told = "is not defined" if lost is None else f"is worse by {lost:.4g}"
            reason = (
                f"the copy's {scores['metric']} of validation rows {told}, deploy.most_loss is "
                f"{deploy.most_loss:g}: the exact copy is shipped"
            )
            record["reason"] = reason
            say(reason)
    if record["method"] == "exact":
        shutil.rmtree(folder, ignore_errors=True)
        write_copy(pool.parent, folder, {})
    if deploy.method != "none" and deploy.graph:
        _add_graph(folder, resolved)
    if isinstance(deploy, Grid | Sparse) and deploy.train_on == "deployed":
        rest = rounded.rest if record["method"] != "exact" else {}
        record["residual"] = save_residual(folder, rounded.models, rest)
    record["bytes"] = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    record["manifest"] = file_hash(manifest_out)
    write_json(record_out, {**record, **made_from()})


def _add_graph(folder: Path, resolved: RunSettings) -> None:
    """Add the graph to a copy that devices need it for."""
    from shoal.deploy.graph import graph_of, needs_graph, put_graph

    copy = pool_of_run(folder, resolved)
    if needs_graph(copy.manifest.model.target):
        put_graph(graph_of(copy)[0], read_json(folder / MANIFEST, dict[str, Any]), folder)


def _write_rounded(
    pool: Pool,
    settings: Grid | Sparse,
    before: Path | None,
    folder: Path,
    tables: Sequence[Path],
    memory: int,
    keeps_statistics: bool,
    seed: int,
) -> Rounded:
    """Write the copy with weights on grids."""
    parameters = {
        file: {name for name, _ in pool.experts.models[number].named_parameters()}
        for number, file in _files(pool).items()
    }
    exponents: Exponents = {}
    if before is not None:
        exponents = read_made(before.parent / RECORD, CopyRecord)["exponents"]
    made = rounded_weights(pool.folder, parameters, settings, before, exponents, seed)
    weights = {file: dict(own) for file, own in made.weights.items()}
    if not keeps_statistics:
        numbers = {number: weights[file] for number, file in _files(pool).items()}
        blocks = Blocks(pool, tables, _in_fold(tables, TRAIN), memory, "training rows")
        for number, found in recalibrated(pool, numbers, blocks).items():
            weights[_files(pool)[number]] |= found
    write_copy(pool.folder, folder, weights)
    return made


def _files(pool: Pool) -> dict[int, str]:
    """Files of specialists and generalist by number."""
    from shoal_edge.routing import BASE, GENERALIST

    numbers = [number for number in pool.experts.models if number != BASE]
    return {n: GENERALIST_FILE if n == GENERALIST else specialist_file(n) for n in numbers}


def _in_fold(paths: Sequence[Path], fold: int) -> list[NDArray[np.bool_]]:
    """Which rows of each table are in a fold."""
    found = []
    for path in paths:
        table = Table(path)
        parts = [folds(batch) == fold for batch in table.batches(1 << 16, [FOLD])]
        table.close()
        found.append(np.concatenate([np.empty(0, bool), *parts]))
    return found


def _compared(
    pool: Pool, copy: Pool, settings: Evaluate, paths: Sequence[Path], memory: int
) -> CopyScores:
    """Scores of a pool and its copy on the same validation rows."""
    from shoal.training.metrics import row_values
    from shoal.training.tasks import rules

    own, label = rules(pool.shapes.task), pool.encoder.label
    metric = own.metric if settings.metric == "auto" else settings.metric
    blocks = Blocks(pool, paths, _in_fold(paths, VALIDATION), memory, "validation rows")
    values: dict[str, list[NDArray[np.float64]]] = {"pool": [], "copy": []}
    leads = blocks.leads()
    for rows, (transformed, x, embedding, column) in blocks:
        y = pool.encoder.labels(transformed)
        by = (embedding, column) if leads is None else leads.of(units_of(rows))
        told = own.told_labels(y, label)
        for name, each in (("pool", pool), ("copy", copy)):
            answer = own.told(each.route(x, *by, y=y).answer, label)
            values[name].append(row_values(metric, answer, told))
    theirs, ours = (_score(metric, parts) for parts in values.values())
    return {"metric": metric, "pool": theirs, "copy": ours, "lost": lost(metric, theirs, ours)}


def _score(metric: Metric, parts: Sequence[NDArray[np.float64]]) -> float | None:
    """A score; None where the rows do not define it."""
    from shoal.training.metrics import score

    found = score(metric, np.concatenate(parts)) if parts else np.nan
    return None if np.isnan(found) else float(found)


def lost(metric: Metric, pool: float | None, copy: float | None) -> float | None:
    """How much worse a copy's score is; below 0 where it is better.

    Args:
        metric: The score.
        pool: The pool's; None where the rows do not define it.
        copy: The copy's.

    Returns:
        Points of a score that is at most 1, and the share by which another one is worse; None
        where that is not defined.
    """
    if pool is None or copy is None:
        return None
    facts = SCORES[metric]
    worse = facts.sign * (pool - copy)
    if facts.is_share:
        return worse
    if pool == 0:
        return 0.0 if worse <= 0 else None
    return worse / abs(pool)
