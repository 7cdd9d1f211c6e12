"""Command ``evaluate``: score every contender on the test fold, write verdict and report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from shoal.ask.answers import Answers
from shoal.cluster.assigner import partition_values
from shoal.evaluate.against_usual import USUAL
from shoal.evaluate.critical import critical_path
from shoal.evaluate.other_variant import other_generalist
from shoal.evaluate.own_scores import own_scores
from shoal.evaluate.verdict import compared, control, control_verdict
from shoal.formats.documents.judgement import (
    NOT_CHOSEN,
    Check,
    GateRecord,
    Search,
    VariantChoice,
)
from shoal.formats.documents.ledger import LedgerRecord
from shoal.formats.documents.weights import UsualFacts
from shoal.formats.files import replacing
from shoal.formats.fitted_state import opened_state
from shoal.formats.hashing import KEY_BYTES
from shoal.formats.json_file import read_made, write_json
from shoal.formats.ledger import most_flops, training_flops
from shoal.formats.provenance import made_from
from shoal.formats.scores import SCORES
from shoal.formats.tables import key_array
from shoal.formats.units import UNIT
from shoal.partitions.reader import Index
from shoal.pool.pool import Pool
from shoal.report.choices import made_choices
from shoal.report.words import not_chosen_text
from shoal.split.folds import unit_kind
from shoal.training.metrics import measure
from shoal.training.tasks import rules
from shoal_edge.routing import BASE, GENERALIST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shoal.evaluate.other_variant import OtherGeneralist
    from shoal.formats.documents.judgement import (
        GateSummary,
        Judged,
        Lack,
        Metrics,
        PoolScores,
        Rejection,
    )
    from shoal.formats.documents.ledger import Flops
    from shoal.formats.documents.plan import RunSettings
    from shoal.formats.kinds import Metric
    from shoal.settings.learning import Evaluate
    from shoal_edge.routing import Routes


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
    usual: Path
    metrics_out: Path
    report_out: Path
    predictions_out: Path
    cluster: Path | None
    answers: Path | None
    choice: Path | None


@dataclass(frozen=True)
class TestRows:
    """The test fold, and each contender's answers.

    Attributes:
        rows: Arrays by name, in order of partition and row hash.
        answers: Probabilities ``(rows, classes)``, numbers in the label's unit ``(rows,)``, or
            losses ``(rows,)``.
        y: Class codes, or numbers in the label's unit; of the task ``own`` ``(rows, labels)``.
        routes: Who is asked for each row, by pool.
        shipped: Name of the pool that is shipped.
    """

    rows: dict[str, NDArray[Any]]
    answers: dict[str, NDArray[Any]]
    y: NDArray[Any]
    routes: dict[str, Routes]
    shipped: Literal["pool_top1", "pool_top2"]

    def models_per_row(self, name: str) -> float:
        """How many models are asked for a row, on average; one by what is no pool."""
        if name not in self.routes:
            return 1.0
        return float((self.routes[name].weights > 0).sum(axis=1).mean())


def evaluate(
    settings: Evaluate,
    resolved: RunSettings,
    found: Mapping[str, str],
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
    usual: Path,
    chosen: Sequence[Path],
    home: Path,
    metrics_out: Path,
    report_out: Path,
    predictions_out: Path,
    threads: int,
    cluster: Path | None = None,
    answers: Path | None = None,
) -> None:
    """Score pool, generalist, random partitions and constant; write all of evaluate's files.

    Where a choice was made among variants, the chosen pool alone is scored, against the chosen
    generalist, which may be another variant's. The files of the others have no test score.

    Args:
        settings: The choices.
        resolved: The run's settings, which the page shows.
        found: Why some of them have their values, which were found in the source files.
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
        usual: The usual models of tables, for what they cost.
        chosen: The choice among variants, if there is one.
        home: The folder of what is published of the variant.
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
        usual=usual,
        metrics_out=metrics_out,
        report_out=report_out,
        predictions_out=predictions_out,
        cluster=cluster,
        answers=answers,
        choice=chosen[0] if chosen else None,
    )
    choice = None if paths.choice is None else read_made(paths.choice, VariantChoice)
    if choice is None or choice["pool"] == home.name:
        _judge(settings, resolved, paths, choice, found)
    else:
        _not_chosen(settings, resolved, paths, choice, home.name)


def _not_chosen(
    settings: Evaluate, content: RunSettings, paths: Paths, choice: VariantChoice, own: str
) -> None:
    """Say that the pool was not chosen; no row of the test fold is looked at."""
    import pyarrow as pa
    import pyarrow.parquet

    from shoal.formats.shapes import Shapes
    from shoal.report.evaluation import not_chosen_page

    shapes = Shapes.load(paths.pool.parent / "shapes.json")
    metric = _metric(settings, shapes.task)
    search = _search(choice)
    metrics: Judged = {
        "metric": metric,
        "verdict": NOT_CHOSEN,
        "sentence": not_chosen_text(search, own),
        "search": search,
    }
    page = not_chosen_page(metrics, own, content, str(paths.answers or ""))
    with replacing(paths.report_out) as aside:
        aside.write_text(page)
    with replacing(paths.predictions_out) as aside:
        pyarrow.parquet.write_table(
            pa.table({"key": key_array(np.empty((0, KEY_BYTES), np.uint8))}), aside
        )
    write_json(paths.metrics_out, {**metrics, **made_from()})


def _metric(settings: Evaluate, task: str) -> Metric:
    decides = settings.metric
    return rules(task).metric if decides == "auto" else decides


def _search(choice: VariantChoice) -> Search:
    """The choice without the files that it was made from and that follow from it."""
    return cast("Search", {n: each for n, each in choice.items() if n in Search.__annotations__})


def _judge(
    settings: Evaluate,
    content: RunSettings,
    paths: Paths,
    choice: VariantChoice | None,
    looked: Mapping[str, str],
) -> None:
    """Score the contenders; the generalist is the chosen one, where a choice was made."""
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
    other = None
    if choice is not None and paths.choice is not None and choice["generalist"] != choice["pool"]:
        other = other_generalist(paths.choice, choice, pool, index, said)
        tested.answers["same_model"] = tested.answers["generalist"]
        tested.answers["generalist"] = other.answer
    metric = _metric(settings, pool.shapes.task)
    made_by = unit_kind(pool.columns, content["split"]["method"])
    scores, per_row = _scores(settings, metric, tested, pool, paths, other)
    units = tested.rows.get(UNIT)
    shipped = tested.shipped
    count = 1 if choice is None else len(choice["variants"])
    comparisons, interval = compared(
        settings, metric, scores, per_row, shipped, units, made_by, count
    )
    generalist = read_made(paths.generalist_ledger, LedgerRecord)
    found = None
    if content["sources"]["shuffle_labels"]:
        keys = tested.rows["key"]
        found = control(metric, per_row, shipped, keys, settings.bootstrap, settings.seed)
        comparisons["verdict"], comparisons["sentence"] = control_verdict(metric, found)
    checked = read_made(paths.check, Check)
    metrics: Metrics = {
        "metric": metric,
        "verdict": comparisons["verdict"],
        "sentence": comparisons["sentence"],
        "units": comparisons["units"],
        "difference": comparisons["difference"],
        "bootstrap": comparisons["bootstrap"],
        "against_usual": comparisons["against_usual"],
        "shipped": shipped,
        "pool_top1": scores["pool_top1"],
        "pool_top2": scores["pool_top2"],
        "ungated": scores["ungated"],
        "generalist": scores["generalist"],
        "random_partitions": scores["random_partitions"],
        "control": found,
        "leaks": checked["leaks"],
        "spellings": checked["spellings"],
        "rows": index.content["rows"],
        "partitions": len(index.partitions),
        "incomplete": [cast("Lack", lack.model_dump()) for lack in pool.manifest.incomplete],
        "gate": _gate(pool, tested, made_by),
        "critical_path": critical_path(
            {path: read_made(path, LedgerRecord) for path in paths.pool_ledgers},
            generalist,
            other.ledger if other else generalist,
            len(paths.tables),
            holds_generalist=pool.gate.asks_generalist,
        ),
        "rejection": _rejection(pool, said, tested),
    }
    metrics[shipped]["interval"] = interval
    if "against_constant" in comparisons:
        metrics["against_constant"] = comparisons["against_constant"]
        metrics["constant"] = scores["constant"]
    for name in USUAL:
        if name in scores:
            metrics[name] = scores[name]  # type: ignore[literal-required]
    if choice is not None:
        metrics["search"] = _search(choice)
    if "against_same_model" in comparisons:
        metrics["against_same_model"] = comparisons["against_same_model"]
        metrics["same_model"] = scores["same_model"]
    _write_predictions(paths.predictions_out, tested, pool)
    details = report_details(settings, content, paths, pool, index, tested, per_row, metric, other)
    if choice is not None:
        metrics["choices"] = made_choices(
            metrics["search"],
            metrics["gate"],
            details.candidates,
            metrics["partitions"],
            content,
            looked,
        )
    with replacing(paths.report_out) as aside:
        aside.write_text(report_page(metrics, details))
    write_json(paths.metrics_out, {**metrics, **made_from()})


def _gate(pool: Pool, tested: TestRows, made_by: str | None) -> GateSummary:
    record = read_made(pool.folder / "gate.json", GateRecord)
    shares = [pool.gate.shares[number] for number in pool.router.trained]
    routes = tested.routes[tested.shipped]
    asked = np.where(routes.weights > 0, routes.experts, BASE)
    special, whole = (asked >= 0).any(axis=1), (asked == GENERALIST).any(axis=1)
    return {
        "specialists": len(shares),
        "serving": sum(share > 0 for share in shares),
        "units": record["units"],
        "least_units": record["least_units"],
        "kind": made_by,
        "softness": pool.gate.softness,
        "answered": {
            "specialist": float((special & ~whole).mean()),
            "both": float((special & whole).mean()),
            "generalist": float((whole & ~special).mean()),
        },
        "models_per_row": tested.models_per_row(tested.shipped),
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
        **said.usual,
    }
    y, own = rows["y"], rules(pool.shapes.task)
    if SCORES[own.metric].constant:
        shares = said.label_shares().astype(np.float32)
        answers["constant"] = np.tile(shares, (len(y), 1))
    label = pool.encoder.label
    answers = {name: own.told(answer, label) for name, answer in answers.items()}
    y = own.told_labels(y, label)
    return TestRows(rows, answers, y, routes, "pool_top2" if router.top_k == 2 else "pool_top1")


def _scores(
    settings: Evaluate,
    metric: Metric,
    tested: TestRows,
    pool: Pool,
    paths: Paths,
    other: OtherGeneralist | None,
) -> tuple[dict[str, PoolScores], dict[str, NDArray[np.float64]]]:
    """Scores and FLOPs of each contender, and its values of the metric by row."""
    partition, units = tested.rows["partition"], tested.rows.get(UNIT)
    scores: dict[str, PoolScores] = {}
    per_row = {}
    costs = _costs(pool, paths, tested, other)
    for name, answer in tested.answers.items():
        numbers, per_row[name] = measure(
            metric, answer, tested.y, partition, settings.calibration_bins, units
        )
        numbers["scores"] |= own_scores(settings.scores, pool.shapes, answer, tested.y)
        training, most, inference = costs[name]
        flops = {"train_flops": training, "inference_flops_per_row": inference}
        if most > training:
            flops["train_flops_at_most"] = most
        scores[name] = cast("PoolScores", numbers | flops)
    return scores, per_row


def _costs(
    pool: Pool, paths: Paths, tested: TestRows, other: OtherGeneralist | None
) -> dict[str, tuple[float, float, float]]:
    """FLOPs of each contender: for training, for that at most, and for predicting one row.

    The last is the mean of test rows.
    """
    from shoal.training.model import answer_flops

    one_row = answer_flops(pool.experts.models[BASE], pool.shapes)
    routing = float(pool.embedder.flops_per_row + pool.router.flops_per_row)
    ledgers = [read_made(path, LedgerRecord) for path in paths.pool_ledgers]
    generalist, random = (
        read_made(path, LedgerRecord) for path in (paths.generalist_ledger, paths.random_ledger)
    )
    best, best_row = (generalist, one_row) if other is None else (other.ledger, other.flops)

    def training(summed: Callable[[Sequence[Flops]], float]) -> dict[str, float]:
        gate, base = (
            summed([each for each in ledgers if each["job"] == job]) for job in ("gate", "base_fit")
        )
        whole = summed(ledgers)
        # The base that it went on from is among the pool's own ledgers.
        shipped = whole + (summed([generalist]) - base if pool.gate.asks_generalist else 0.0)
        return {
            "pool_top1": shipped,
            "pool_top2": shipped,
            "ungated": whole - gate,
            "generalist": summed([best]),
            "same_model": summed([generalist]),
            "random_partitions": summed([random]),
            "constant": 0.0,
        }

    inference = {
        name: routing + one_row * tested.models_per_row(name)
        for name in ("pool_top1", "pool_top2", "ungated")
    }
    inference |= {
        "generalist": best_row,
        "same_model": one_row,
        "random_partitions": one_row,
        "constant": 0.0,
    }
    spent, most = training(training_flops), training(most_flops)
    costs = {name: (spent[name], most[name], inference[name]) for name in spent}
    with opened_state(paths.usual, UsualFacts) as state:
        for name, facts in state.meta["models"].items():
            flops = facts["train_flops"]
            costs[name] = flops, flops, facts["inference_flops_per_row"]
    return costs


def _rejection(pool: Pool, said: Answers, tested: TestRows) -> Rejection | None:
    """Share of rows beyond the router's threshold: of those outside every fold, and of test."""
    outside = said.outside
    if not outside:
        return None
    values = partition_values(pool.router.assigner, outside["partition"])
    distance = pool.router.route(outside["embedding"], values, 1).distance
    threshold = pool.router.threshold
    return {
        "outside": float((distance > threshold).mean()),
        "test": float((tested.routes["ungated"].distance > threshold).mean()),
    }


def _write_predictions(path: Path, tested: TestRows, pool: Pool) -> None:
    """Write one row per test row: key, label, partition, specialist, each contender's answer."""
    import pyarrow as pa
    import pyarrow.parquet

    table: dict[str, object] = {
        "key": key_array(tested.rows["key"]),
        **{name: tested.rows[name] for name in (UNIT,) if name in tested.rows},
        "partition": tested.rows["partition"],
        "specialist": tested.routes[tested.shipped].leading,
        "distance": tested.routes[tested.shipped].distance,
    }
    own = rules(pool.shapes.task)
    if pool.shapes.classes is not None:
        table["label"] = pa.array(_class_names(pool, tested.y), pa.string())
    elif pool.columns.label is not None:
        table["label"] = tested.y
    for name, answer in tested.answers.items():
        if answer.ndim == 2:
            table[name] = pa.array(_class_names(pool, answer.argmax(axis=1)))
        elif pool.columns.label is not None:
            table[name] = answer
        table[f"{name}_{own.row_value}"] = own.values(answer, tested.y)
    with replacing(path) as aside:
        pyarrow.parquet.write_table(pa.table(table), aside)


def _class_names(pool: Pool, codes: NDArray[Any]) -> list[str | None]:
    """Names of class codes; None for a class that the training fold does not have."""
    classes = pool.shapes.classes or []
    return [classes[code] if code >= 0 else None for code in codes.tolist()]
