"""Command ``evaluate``: score every contender on the test fold, write verdict and report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from shoal.ask.answers import Answers
from shoal.cluster.assigner import partition_values
from shoal.evaluate.verdict import compared, control, control_verdict
from shoal.formats.documents.judgement import Check, GateRecord
from shoal.formats.documents.ledger import LedgerRecord
from shoal.formats.files import replacing
from shoal.formats.json_file import read_made, write_json
from shoal.formats.ledger import most_flops, training_flops
from shoal.formats.provenance import made_from
from shoal.formats.units import UNIT
from shoal.partitions.reader import Index
from shoal.pool.pool import Pool
from shoal.split.folds import unit_kind
from shoal.train_specialists.experts import BASE, GENERALIST
from shoal.training.metrics import measure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.formats.documents.judgement import GateSummary, Lack, Metrics, Rejection, Scores
    from shoal.formats.documents.ledger import Flops
    from shoal.formats.documents.plan import RunSettings
    from shoal.formats.kinds import Metric
    from shoal.settings.learning import Evaluate


@dataclass(frozen=True)
class Paths:
    """The files that evaluate reads and writes."""

    pool: Path
    index: Path
    choices: Sequence[Path]
    pool_ledgers: Sequence[Path]
    tables: Sequence[Path]
    check: Path
    asked: Sequence[Path]
    generalist: Path
    generalist_ledger: Path
    random: Path
    random_ledger: Path
    metrics_out: Path
    report_out: Path
    predictions_out: Path
    cluster: Path | None
    answers: Path | None


@dataclass(frozen=True)
class TestRows:
    """The test fold, and each contender's answers.

    Attributes:
        rows: Arrays by name, in order of partition and row hash.
        answers: Probabilities ``(rows, classes)``, or numbers in the label's unit ``(rows,)``.
        y: Class codes, or numbers in the label's unit.
        leading: The specialist with the largest weight for each row at top 1; -1 is the base, -2
            the generalist.
        distance: Distance of each row to the nearest atom.
    """

    rows: dict[str, NDArray[Any]]
    answers: dict[str, NDArray[Any]]
    y: NDArray[Any]
    leading: NDArray[np.int32]
    distance: NDArray[np.float32]


def evaluate(
    settings: Evaluate,
    resolved: RunSettings,
    pool: Path,
    index: Path,
    choices: Sequence[Path],
    ledgers: Sequence[Path],
    gate: Path,
    tables: Sequence[Path],
    check: Path,
    asked: Sequence[Path],
    generalist: Path,
    generalist_ledger: Path,
    random: Path,
    random_ledger: Path,
    metrics_out: Path,
    report_out: Path,
    predictions_out: Path,
    threads: int,
    cluster: Path | None = None,
    answers: Path | None = None,
) -> None:
    """Score pool, generalist, random partitions and constant; write all of evaluate's files.

    Args:
        settings: The choices.
        resolved: The run's settings, which the page shows.
        pool: The pool's manifest.
        index: The partition index.
        choices: Chosen grid point of each partition.
        ledgers: What the pool's making cost, the gate aside.
        gate: What the gate decided and cost.
        tables: Transformed shards.
        check: What the check of all rows found.
        asked: What the models say of each partition's test rows.
        generalist: The generalist, for the rows that it was trained on.
        generalist_ledger: What it cost.
        random: The specialists of random partitions, for the same.
        random_ledger: What they cost.
        metrics_out: Every number, JSON.
        report_out: The page.
        predictions_out: What each contender says of each row.
        threads: CPU threads; the bits depend on it.
        cluster: Page on what the run took on a cluster, if there will be one.
        answers: Page that compares the experiment's choices, if there will be one.
    """
    from shoal.training.determinism import deterministic

    deterministic(threads)
    paths = Paths(
        pool=pool,
        index=index,
        choices=choices,
        pool_ledgers=[*ledgers, gate],
        tables=tables,
        check=check,
        asked=asked,
        generalist=generalist,
        generalist_ledger=generalist_ledger,
        random=random,
        random_ledger=random_ledger,
        metrics_out=metrics_out,
        report_out=report_out,
        predictions_out=predictions_out,
        cluster=cluster,
        answers=answers,
    )
    _judge(settings, resolved, paths)


def _judge(settings: Evaluate, content: RunSettings, paths: Paths) -> None:
    from shoal.evaluate.details import report_details
    from shoal.formats.shapes import Shapes
    from shoal.report.evaluation import report_page
    from shoal.settings.data import Transform

    targets = [
        content["model"]["_target_"],
        *Transform.model_validate(content["transform"]).targets,
        *Shapes.load(paths.pool.parent / "shapes.json").trusted,
    ]
    pool = Pool.load(paths.pool.parent, trust=targets)
    index = Index(paths.index)
    said = Answers(paths.asked, index, "test", pool.experts.answer)
    tested = _tested(pool, said)
    metric: Metric = "accuracy" if pool.shapes.task == "classification" else "rmse"
    made_by = unit_kind(pool.columns, content["split"]["method"])
    scores, per_row = _scores(settings, metric, tested, pool, paths)
    units = tested.rows.get(UNIT)
    comparisons, interval = compared(settings, metric, scores, per_row, units, made_by)
    found = None
    if content["sources"]["shuffle_labels"]:
        keys = tested.rows["key"]
        found = control(metric, per_row, keys, settings.bootstrap, settings.seed)
        comparisons["verdict"], comparisons["sentence"] = control_verdict(metric, found)
    checked = read_made(paths.check, Check)
    metrics: Metrics = {
        "metric": metric,
        "verdict": comparisons["verdict"],
        "sentence": comparisons["sentence"],
        "units": comparisons["units"],
        "difference": comparisons["difference"],
        "against_constant": comparisons["against_constant"],
        "bootstrap": comparisons["bootstrap"],
        "pool_top1": {**scores["pool_top1"], "interval": interval},
        "pool_top2": scores["pool_top2"],
        "ungated": scores["ungated"],
        "generalist": scores["generalist"],
        "random_partitions": scores["random_partitions"],
        "constant": scores["constant"],
        "control": found,
        "leaks": checked["leaks"],
        "spellings": checked["spellings"],
        "rows": index.content["rows"],
        "partitions": len(index.partitions),
        "incomplete": [cast("Lack", lack.model_dump()) for lack in pool.manifest.incomplete],
        "gate": _gate(pool, made_by),
        "rejection": _rejection(pool, said, tested),
    }
    _write_predictions(paths.predictions_out, tested, per_row, pool)
    details = report_details(settings, content, paths, pool, index, tested, per_row, metric)
    with replacing(paths.report_out) as aside:
        aside.write_text(report_page(metrics, details))
    write_json(paths.metrics_out, {**metrics, **made_from()})


def _gate(pool: Pool, made_by: str | None) -> GateSummary:
    trained = [number for number in pool.experts.models if number >= 0]
    serving = [number for number in trained if number not in pool.gate.closed]
    record = read_made(pool.folder / "gate.json", GateRecord)
    return {
        "specialists": len(trained),
        "serving": len(serving),
        "units": record["units"],
        "least_units": record["least_units"],
        "kind": made_by,
    }


def _tested(pool: Pool, said: Answers) -> TestRows:
    rows, router = said.rows, pool.router
    values = partition_values(router.assigner, rows["partition"])
    ungated, second = (router.route(rows["embedding"], values, k) for k in (1, 2))
    routes = {
        "pool_top1": pool.gate.apply(ungated),
        "pool_top2": pool.gate.apply(second),
        "ungated": ungated,
    }
    answers = {name: said.mix(each.experts, each.weights) for name, each in routes.items()}
    answers |= {
        "generalist": said.answer(GENERALIST, np.arange(len(rows["y"]))),
        "random_partitions": said.by_chance,
        "constant": np.tile(said.label_shares().astype(np.float32), (len(rows["y"]), 1)),
    }
    y = rows["y"]
    if pool.shapes.task == "regression":
        answers = {name: pool.encoder.decode(a[:, 0]) for name, a in answers.items()}
        y = pool.encoder.decode(y)
    first = routes["pool_top1"]
    return TestRows(rows, answers, y, first.leading, first.distance)


def _scores(
    settings: Evaluate, metric: Metric, tested: TestRows, pool: Pool, paths: Paths
) -> tuple[dict[str, Scores], dict[str, NDArray[np.float64]]]:
    """Scores and FLOPs of each contender, and its values of the metric by row."""
    partition, units = tested.rows["partition"], tested.rows.get(UNIT)
    scores: dict[str, Scores] = {}
    per_row = {}
    costs = _costs(pool, paths)
    for name, answer in tested.answers.items():
        numbers, per_row[name] = measure(
            metric, answer, tested.y, partition, settings.calibration_bins, units
        )
        training, most, inference = costs[name]
        flops = {"train_flops": training, "inference_flops_per_row": inference}
        if most > training:
            flops["train_flops_at_most"] = most
        scores[name] = cast("Scores", numbers | flops)
    return scores, per_row


def _costs(pool: Pool, paths: Paths) -> dict[str, tuple[float, float, float]]:
    """FLOPs of each contender: for training, for that at most, and for predicting one row."""
    import torch

    from shoal.training.flops import forward_flops

    one_row = float(
        forward_flops(pool.experts.models[BASE], torch.zeros((1, *pool.shapes.x_shape)))
    )
    routing = float(pool.embedder.flops_per_row + pool.router.flops_per_row)
    ledgers = [read_made(path, LedgerRecord) for path in paths.pool_ledgers]
    generalist, random = (
        read_made(path, LedgerRecord) for path in (paths.generalist_ledger, paths.random_ledger)
    )

    def training(summed: Callable[[Sequence[Flops]], float]) -> dict[str, float]:
        gate, base = (
            summed([each for each in ledgers if each["job"] == job]) for job in ("gate", "base_fit")
        )
        whole = summed(ledgers)
        # The base that it went on from is among the pool's own ledgers.
        shipped = whole + (summed([generalist]) - base if pool.gate.closed else 0.0)
        return {
            "pool_top1": shipped,
            "pool_top2": shipped,
            "ungated": whole - gate,
            "generalist": summed([generalist]),
            "random_partitions": summed([random]),
            "constant": 0.0,
        }

    inference = {
        "pool_top1": routing + one_row,
        "pool_top2": routing + 2 * one_row,
        "ungated": routing + one_row,
        "generalist": one_row,
        "random_partitions": one_row,
        "constant": 0.0,
    }
    spent, most = training(training_flops), training(most_flops)
    return {name: (spent[name], most[name], inference[name]) for name in spent}


def _rejection(pool: Pool, said: Answers, tested: TestRows) -> Rejection | None:
    """Share of rows beyond the router's threshold: of those outside every fold, and of test."""
    outside = said.outside
    if not outside:
        return None
    values = partition_values(pool.router.assigner, outside["partition"])
    distance = pool.router.route(outside["embedding"], values, 1)[2]
    threshold = pool.router.threshold
    return {
        "outside": float((distance > threshold).mean()),
        "test": float((tested.distance > threshold).mean()),
    }


def _write_predictions(
    path: Path, tested: TestRows, per_row: dict[str, NDArray[np.float64]], pool: Pool
) -> None:
    """Write one row per test row: key, label, partition, specialist, each contender's answer."""
    import pyarrow as pa
    import pyarrow.parquet

    from shoal.formats.tables import key_array

    table: dict[str, object] = {
        "key": key_array(tested.rows["key"]),
        **{name: tested.rows[name] for name in (UNIT,) if name in tested.rows},
        "partition": tested.rows["partition"],
        "specialist": tested.leading,
        "distance": tested.distance,
    }
    measure_name = "correct" if pool.shapes.task == "classification" else "squared_error"
    if pool.shapes.task == "classification":
        table["label"] = pa.array(_class_names(pool, tested.y), pa.string())
    else:
        table["label"] = tested.y
    for name, answer in tested.answers.items():
        said = answer.argmax(axis=1) if answer.ndim == 2 else answer
        table[name] = pa.array(_class_names(pool, said)) if answer.ndim == 2 else said
        table[f"{name}_{measure_name}"] = per_row[name]
    with replacing(path) as aside:
        pyarrow.parquet.write_table(pa.table(table), aside)


def _class_names(pool: Pool, codes: NDArray[Any]) -> list[str | None]:
    """Names of class codes; None for a class that the training fold does not have."""
    classes = pool.shapes.classes or []
    return [classes[code] if code >= 0 else None for code in codes.tolist()]
