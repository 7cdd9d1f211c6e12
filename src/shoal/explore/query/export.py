"""Metadata in the ml-experiments schema: models, the data they were trained on, their scores.

Source:
    https://github.com/awslabs/ml-experiments-schema (``schema.json``, 2017); Schelter et al.,
    Automatically Tracking Metadata and Provenance of Machine Learning Experiments, NIPS 2017.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from shoal.explore.query import data_tables, model_tables
from shoal.formats.json_file import write_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from shoal.explore.query.results import Results

    Row = Mapping[str, Any]
    Entry = dict[str, Any]

_FRAMEWORK = {"fromFramework": "shoal", "fromFrameworkVersion": version("shoal")}
_ALGORITHMS = {"pool": "routing", "usual": "linear model and gradient boosting"}
_SCORES = ("score", "log_loss", "calibration_error", "worst_score")
_COSTS = ("rows_seen", "flops", "seconds", "peak_memory_bytes", "peak_gpu_memory_bytes")
_PLACES = ("device", "threads", "host", "versions")


def export_metadata(results: Results, folder: Path) -> dict[str, int]:
    """Write six JSON files, each a list of entries that refer to each other by id.

    Args:
        results: The experiment.
        folder: Where ``datasets.json``, ``transforms.json``, ``models.json``,
            ``training_runs.json``, ``predictions.json`` and ``evaluations.json`` go.

    Returns:
        Number of entries in each.
    """
    models = list(model_tables.models(results))
    transforms = {row["transform"]: row for row in data_tables.transforms(results)}
    scored = [row for row in model_tables.evaluations(results) if row["model"] is not None]
    parts: dict[str, Iterable[Entry]] = {
        "datasets": map(_dataset, data_tables.datasets(results)),
        "transforms": map(_transform, transforms.values()),
        "models": (_model(row, transforms) for row in models),
        "training_runs": _training_runs(results, models),
        "predictions": map(_prediction, scored),
        "evaluations": map(_evaluation, scored),
    }
    written = {}
    for name, entries in parts.items():
        content = [_without_gaps(entry) for entry in entries]
        write_json(folder / f"{name}.json", content)
        written[name] = len(content)
    return written


def _dataset(row: Row) -> Entry:
    return {
        "id": row["dataset"],
        "name": row["kind"],
        "location": row["location"],
        "derivedFromDatasetId": row.get("derived_from"),
        "dataStatistics": [_typed("rows", row["rows"])] if "rows" in row else None,
    }


def _transform(row: Row) -> Entry:
    settings = json.loads(row["settings"])
    return {
        "id": row["transform"],
        "name": row["stage"],
        "inputTransforms": None if row["after"] is None else [row["after"]],
        "parameters": [_typed(name, value) for name, value in settings.items()],
        **_FRAMEWORK,
    }


def _model(row: Row, transforms: Mapping[str, Row]) -> Entry:
    return {
        "id": row["model"],
        "name": row["kind"],
        "location": row["file"],
        "creationTime": _milliseconds(row["modified"]),
        "trainedOnDatasetId": row.get("trained_on") or "unknown",
        "learningAlgorithm": _ALGORITHMS.get(row["kind"], "gradient descent"),
        "hyperparameters": _hyperparameters(row),
        "transforms": [
            {"id": each["transform"], "name": each["stage"]}
            for each in _up_to(row.get("encoder"), transforms)
        ],
        "annotations": {"base": row["base"]} if row.get("base") else None,
        **_FRAMEWORK,
    }


def _up_to(name: str | None, transforms: Mapping[str, Row]) -> list[Row]:
    """A transform and those before it, in order of use."""
    found: list[Row] = []
    while name is not None and name in transforms:
        found.insert(0, transforms[name])
        name = transforms[name]["after"]
    return found


def _hyperparameters(row: Row) -> list[Entry]:
    """The grid point."""
    point = json.loads(row.get("point") or "{}")
    return [_typed(name, value) for name, value in point.items()]


def _training_runs(results: Results, models: Iterable[Row]) -> Iterator[Entry]:
    """Trainings of models; what else was fitted is among the transforms."""
    known = {row["model"]: row for row in models}
    scores = _scores_over_time(results)
    for row in model_tables.training_runs(results):
        if row["run"] not in known:
            continue
        end = _milliseconds(row["ended"])
        start = end - round(row["seconds"] * 1000)
        yield {
            "id": f"{row['run']}/run",
            "name": row["job"],
            "forModelId": row["run"],
            "creationTime": start,
            "startTime": start,
            "endTime": end,
            "hyperparameters": _hyperparameters(known[row["run"]]),
            "environment": {name: str(row[name]) for name in _PLACES},
            "annotations": {name: str(row[name]) for name in _COSTS},
            "scoresOverTime": [
                {
                    "timestamp": start + round(1000 * min(each.seconds, row["seconds"])),
                    "epoch": each.step,
                    "score": _score(each.metric, each.value),
                }
                for each in scores[row["run"]]
            ],
        }


@dataclass(frozen=True)
class _Point:
    """A score in the course of a training; ``seconds`` is infinite at its end."""

    metric: str
    step: int
    seconds: float
    value: float


def _scores_over_time(results: Results) -> dict[str, list[_Point]]:
    """Training loss of each run, and validation loss of specialists, as the base and at the end."""
    found: dict[str, list[_Point]] = defaultdict(list)
    for row in model_tables.learning_curves(results):
        metric = f"training {row['training']} loss" if row["training"] else "training loss"
        found[row["run"]].append(_Point(metric, row["step"], row["seconds"], row["loss"]))
    before = 0.0
    for row in model_tables.choices(results):
        if row["loss"] is None:
            continue
        if row["candidate"] == "base":
            before = row["loss"]
            continue
        points = found[row["model"]]
        last = max((each.step for each in points), default=0)
        points.append(_Point("validation loss", 0, 0.0, before))
        points.append(_Point("validation loss", last, math.inf, row["loss"]))
    return found


def _prediction(row: Row) -> Entry:
    return {
        "id": _prediction_id(row),
        "name": row["contender"],
        "computedByModelId": row["model"],
        "computedOnDatasetId": row["dataset"],
        "creationTime": _milliseconds(row["ended"]),
        "location": row["predictions"],
    }


def _evaluation(row: Row) -> Entry:
    scores = {name: row[name] for name in _SCORES if row[name] is not None}
    names = {"score": row["metric"], "worst_score": f"worst partition's {row['metric']}"}
    return {
        "id": f"{_prediction_id(row)}/scores",
        "name": row["contender"],
        "forPredictionId": _prediction_id(row),
        "computedByModelId": row["model"],
        "computedOnDatasetId": row["dataset"],
        "creationTime": _milliseconds(row["ended"]),
        "scores": [_score(names.get(name, name), value) for name, value in scores.items()],
    }


def _prediction_id(row: Row) -> str:
    return f"{row['evaluation']}/{row['contender']}"


def _score(metric: str, value: float) -> Entry:
    return {"metric": metric, "typing": "DOUBLE", "value": repr(value)}


def _typed(name: str, value: Any) -> Entry:  # noqa: ANN401 - any JSON value
    """A parameter or statistic; the schema has its value as text, and says its type."""
    kinds = {bool: "BOOLEAN", int: "LONG", float: "DOUBLE", str: "STRING"}
    text = value if isinstance(value, str) and value else json.dumps(value, sort_keys=True)
    return {"name": name, "typing": kinds.get(type(value), "UNKNOWN"), "value": text}


def _milliseconds(time: datetime) -> int:
    return round(time.replace(tzinfo=UTC).timestamp() * 1000)


def _without_gaps(entry: Entry) -> Entry:
    """An entry without unknown values."""
    return {name: value for name, value in entry.items() if value is not None}
