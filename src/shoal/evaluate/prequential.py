"""Command ``evaluate-prequential``: test-then-train.

The pool of the release before is asked about every row that has arrived since, in whatever fold,
before any model has seen it. It gets the rows as ``split`` leaves them and makes of them what it
makes of rows to predict, so that no augmentation of training rows is in the way.

Source:
    Interleaved test-then-train, or prequential, evaluation: Gama, Sebastião and Rodrigues 2013.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from shoal.errors import ShoalError
from shoal.formats import tables
from shoal.formats.blocks import block_rows
from shoal.formats.hashing import KEY_BYTES, more_often
from shoal.formats.json_file import write_json
from shoal.formats.provenance import made_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.formats.documents.plan import RunSettings
    from shoal.formats.documents.prequential import (
        ArrivedPartition,
        ArrivedScores,
        Prequential,
        PrequentialScores,
    )
    from shoal.formats.kinds import Metric
    from shoal.pool.leads import Leads
    from shoal.pool.pool import Pool, Prepared
    from shoal.settings.learning import Evaluate

    Flags = NDArray[np.bool_]
    Floats = NDArray[np.float64]

_HASHES = 1 << 16
_PARTS, _PART_ROWS = 20, 50
"""Most parts of the rows that have a running score, and fewest rows of one."""


@dataclass(frozen=True)
class Arrivals:
    """Rows of now and of a release.

    Attributes:
        previous: The release.
        tables: Tables, after ``split``, of files that it does not have, in the order of the files.
        gone: The same of files that it has and that are not there now.
        files: Gives manifest and generalist of its pool, which may not be there.
    """

    previous: str
    tables: Sequence[Path]
    gone: Sequence[Path]
    files: Callable[[], tuple[Path, Path]]


def evaluate_prequential(
    settings: Evaluate,
    resolved: RunSettings,
    arrivals: Arrivals,
    out: Path,
    threads: int,
    memory: int,
) -> None:
    """Score the pool of the release before on the rows that have arrived since.

    Two rows are the same if inputs and labels are; of copies, those that are there more often have
    arrived. Rows are held a block at a time, and of each row that arrived its values of the score.
    Where the rows cannot be scored, the reason is written, and the run goes on.

    Args:
        settings: The choices: score, resamples and seed.
        resolved: The run's settings, whose model and functions the pool may import.
        arrivals: The rows, and the pool.
        out: The scores, JSON: :class:`shoal.formats.documents.prequential.Prequential`.
        threads: CPU threads; the bits depend on it.
        memory: Bytes that the process may hold; no result depends on it.
    """
    found: Prequential = {
        "previous": arrivals.previous,
        "arrived": 0,
        "scores": None,
        "reason": "no row arrived",
    }
    try:
        flags = arrived_rows(arrivals)
        found["arrived"] = sum(int(own.sum()) for own in flags)
        if found["arrived"]:
            found["scores"] = _scores(settings, resolved, arrivals, flags, threads, memory)
            found["reason"] = None
    except ShoalError as error:
        found["reason"] = str(error)
    write_json(out, {**found, **made_from()})


def arrived_rows(arrivals: Arrivals) -> list[Flags]:
    """Which rows of each table have arrived, each ``(rows,)``.

    Raises:
        SourceError: A table is not there.
    """
    ours = [_sources(path) for path in arrivals.tables]
    nothing = np.empty((0, KEY_BYTES), dtype=np.uint8)
    theirs = np.concatenate([nothing, *(_sources(path) for path in arrivals.gone)])
    flags = more_often(np.concatenate([nothing, *ours]), theirs)
    return np.split(flags, np.cumsum([len(own) for own in ours])[:-1])


def _sources(path: Path) -> NDArray[np.uint8]:
    """Hash of inputs and labels of each row."""
    table = tables.Table(path)
    found = [tables.keys(batch, tables.SOURCE) for batch in table.batches(_HASHES, [tables.SOURCE])]
    table.close()
    return np.concatenate([np.empty((0, KEY_BYTES), dtype=np.uint8), *found])


@dataclass
class _Said:
    """Of each row, in order of arrival.

    Attributes:
        pool: Values of the score of the pool's answer, a part per block.
        generalist: The same of the generalist's; None without it.
        known: Whether the label is of a class that the generation knows.
        partition: The pool's partition.
        unit: Unit, where rows belong together.
        time: Time, where a column has it.
    """

    pool: list[Floats] = field(default_factory=list)
    generalist: list[Floats] = field(default_factory=list)
    known: list[Flags] = field(default_factory=list)
    partition: list[NDArray[np.int32]] = field(default_factory=list)
    unit: list[NDArray[np.uint64]] = field(default_factory=list)
    time: list[Floats] = field(default_factory=list)


def _scores(
    settings: Evaluate,
    resolved: RunSettings,
    arrivals: Arrivals,
    flags: Sequence[Flags],
    threads: int,
    memory: int,
) -> PrequentialScores:
    from shoal.training.determinism import deterministic
    from shoal.training.tasks import rules

    deterministic(threads)
    manifest, model = arrivals.files()
    pool = pool_of_run(manifest.parent, resolved)
    blocks = Blocks(pool, arrivals.tables, flags, memory)
    own = rules(pool.shapes.task)
    metric = own.metric if settings.metric == "auto" else settings.metric
    said = _said(pool, metric, blocks, model)
    order = np.arange(sum(map(len, said.partition)))
    if said.time:  # rows without a time come last
        order = np.argsort(np.concatenate(said.time), kind="stable")
    return _measured(settings, metric, said, order)


def pool_of_run(folder: Path, resolved: RunSettings) -> Pool:
    """The pool; it may import what the run's own settings name."""
    from shoal.formats.shapes import Shapes
    from shoal.pool.pool import Pool
    from shoal.settings.data import Transform

    transform = Transform.model_validate(resolved["transform"])
    shapes = Shapes.load(folder / "shapes.json")
    return Pool.load(folder, [resolved["model"]["_target_"], *transform.targets, *shapes.trusted])


@dataclass(frozen=True)
class Blocks:
    """Some rows, a block at a time, as a pool takes them.

    Attributes:
        pool: The pool.
        tables: Tables after ``split``.
        flags: Which rows of each, ``(rows,)``.
        memory: Bytes that the process may hold.
        about: Said of the rows in messages.
    """

    pool: Pool
    tables: Sequence[Path]
    flags: Sequence[Flags]
    memory: int
    about: str = "rows that arrived"

    def __iter__(self) -> Iterator[tuple[pa.Table, Prepared]]:
        """Rows after split, and as the pool takes them."""
        encoder = self.pool.encoder
        encoded = 2 * math.prod(encoder.x_shape) * np.dtype(encoder.x_dtype).itemsize
        for path, flags in zip(self.tables, self.flags, strict=True):
            table, start = tables.Table(path), 0
            place = f"{table.record.get('source', path)} ({self.about})"
            for batch in table.batches(block_rows(table.row_bytes + encoded, self.memory)):
                own = flags[start : start + len(batch)]
                start += len(batch)
                if own.any():
                    rows = batch.filter(pa.array(own))
                    yield rows, self.pool.prepare(rows, place, 1)
            table.close()

    def leads(self) -> Leads | None:
        """Rows by which groups are routed, as for a file of these rows; None where each is."""
        from shoal.pool.leads import Leads

        if self.pool.manifest.route_by is None:
            return None
        found: Leads | None = None
        for rows, (_, _, embedding, values) in self:
            own = Leads.among(units_of(rows), tables.keys(rows), embedding, values)
            found = own if found is None else found.joined(own)
        return found


def units_of(rows: pa.Table) -> NDArray[np.uint64]:
    """Units of rows that belong together."""
    units = tables.units(rows)
    assert units is not None  # noqa: S101 - routes by group need a group
    return units


def _said(pool: Pool, metric: Metric, blocks: Blocks, model: Path) -> _Said:
    """Ask the pool and its release's generalist."""
    from shoal.formats.documents.weights import AtPoint
    from shoal.formats.fitted_state import load_state
    from shoal.formats.row_store import known_labels
    from shoal.train_specialists.experts import GENERALIST
    from shoal.training.metrics import row_values
    from shoal.training.model import predict
    from shoal.training.tasks import rules

    net = pool.experts.models.get(GENERALIST)
    if net is None and model.exists():
        tensors, about = load_state(model, AtPoint)
        net = pool.model_with(tensors, about["point"])
    task, label = pool.shapes.task, pool.encoder.label
    leads, own, said = blocks.leads(), rules(task), _Said()
    times = pool.columns.of_kind("time")[:1]
    for rows, (transformed, x, embedding, values) in blocks:
        y = pool.encoder.labels(transformed)
        by = (embedding, values) if leads is None else leads.of(units_of(rows))
        answers = {"pool": pool.route(x, *by, y=y).answer}
        if net is not None:
            answers["generalist"] = predict(net, x, task, y=y)
        told = own.told_labels(y, label)
        for name, answer in answers.items():
            getattr(said, name).append(row_values(metric, own.told(answer, label), told))
        said.known.append(known_labels(y))
        said.partition.append(pool.router.assigner.place(*by).partition)
        units = tables.units(rows)
        said.unit += [] if units is None else [units]
        said.time += [tables.numbers(rows, name) for name in times]
    return said


def _measured(
    settings: Evaluate, metric: Metric, said: _Said, order: NDArray[np.int64]
) -> PrequentialScores:
    from shoal.evaluate.bootstrap import paired_bootstrap
    from shoal.formats.units import numbered

    pool = np.concatenate(said.pool)
    generalist = np.concatenate(said.generalist) if said.generalist else None
    unit = np.concatenate(said.unit) if said.unit else None
    partition = np.concatenate(said.partition)

    def of(rows: NDArray[np.int64]) -> ArrivedScores:
        theirs = None if generalist is None else _score(metric, generalist[rows])
        return {"rows": len(rows), "score": _score(metric, pool[rows]), "generalist": theirs}

    whole, about = of(order), (metric, settings.bootstrap, settings.seed)
    alone = against = None
    if whole["score"] is not None:
        alone = paired_bootstrap(pool, None, *about, units=unit)
        against = (
            None if generalist is None else paired_bootstrap(pool, generalist, *about, units=unit)
        )
    partitions: list[ArrivedPartition] = [
        {"partition": int(each), **of(np.flatnonzero(partition == each))}
        for each in np.unique(partition)
    ]
    parts = np.array_split(order, min(_PARTS, max(1, len(order) // _PART_ROWS)))
    return {
        **whole,
        "metric": metric,
        "units": numbered(unit, len(pool))[1],
        "unknown_labels": int(sum((~known).sum() for known in said.known)),
        "interval": {"low": alone.low if alone else None, "high": alone.high if alone else None},
        "difference": against.document if against else None,
        "partitions": partitions,
        "running": [of(rows) for rows in parts],
    }


def _score(metric: Metric, values: NDArray[Any]) -> float | None:
    """A score; None where the rows do not define it."""
    from shoal.training.metrics import score

    found = score(metric, values)
    return None if math.isnan(found) else found
