"""Tables of models: their kinds, training costs, scores and tensors."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.formats.documents.choice import Choice
from shoal.formats.documents.judgement import GateRecord, Metrics, scored
from shoal.formats.documents.ledger import LedgerRecord
from shoal.formats.documents.manifest import PoolManifest
from shoal.formats.documents.weights import (
    AtPoint,
    BaseFacts,
    BaselineFacts,
    GeneralistFacts,
    SpecialistFacts,
)
from shoal.formats.hashing import settings_id
from shoal.formats.headers import read_weights
from shoal.formats.json_file import read_json, read_made
from shoal.formats.provenance import KEY as MADE_FROM
from shoal.formats.stored import as_kind, naming
from shoal.plan.paths import glob, parse
from shoal.plan.stages import STAGES
from shoal.report.words import CONTENDERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shoal.explore.query.results import Results, Row
    from shoal.formats.headers import Weights

_KINDS = {
    "base": "base_fit.base",
    "specialist": "train_specialist.model",
    "generalist": "evaluate_generalist.model",
    "random": "evaluate_random.models",
    "usual": "evaluate_random.usual",
}
"""Outputs that are weights, by kind."""

_FACTS: dict[str, Any] = {
    "base": BaseFacts,
    "specialist": SpecialistFacts,
    "generalist": GeneralistFacts,
    "random": BaselineFacts,
    "usual": BaselineFacts,
}
"""Facts that are kept beside the weights of each kind."""

_CONTENDERS = {
    "pool.manifest": ("pool_top1", "pool_top2", "ungated"),
    "evaluate_generalist.model": ("generalist",),
    "evaluate_random.models": ("random_partitions",),
    "evaluate_random.usual": ("linear_model", "boosted_trees"),
}
"""Contenders behind which the model in an output is."""

_POOLS = glob(STAGES["pool"], "manifest")
_EVALUATIONS = glob(STAGES["evaluate"], "metrics")


def models(results: Results) -> Iterator[Row]:
    """Every set of weights, and every pool."""
    for kind in _KINDS:
        for path in _weights(results, kind):
            weights = read_weights(path)
            yield {
                "model": results.name(path),
                "kind": kind,
                "generation": results.place(path).wildcards["generation"],
                **_training(results, kind, weights, path),
                "base": _named(results, weights.made_from, "base.safetensors"),
                "encoder": _named(results, weights.made_from, "shapes.json"),
                "parameters": sum(math.prod(each.shape) for each in weights.tensors),
                "bytes": path.stat().st_size,
                "modified": modified(path),
                "file": str(path),
            }
    for path in results.files(_POOLS):
        manifest = read_json(path, PoolManifest)
        yield {
            "model": results.name(path),
            "kind": "pool",
            "generation": f"g{manifest['generation']}",
            "trained_on": manifest["rows"],
            "base": _named(results, manifest[MADE_FROM]["files"], "base.safetensors"),
            "encoder": _named(results, manifest[MADE_FROM]["files"], "shapes.json"),
            "bytes": sum((path.parent / name).stat().st_size for name in manifest["files"]),
            "modified": modified(path),
            "file": str(path),
        }


def _weights(results: Results, kind: str) -> Iterator[Path]:
    stage, _, output = _KINDS[kind].partition(".")
    return results.files(glob(STAGES[stage], output))


def _ledgers(results: Results) -> Iterator[Path]:
    for stage in STAGES.values():
        if "ledger" in stage.outputs:
            yield from results.files(glob(stage, "ledger"))


def _training(results: Results, kind: str, weights: Weights, path: Path) -> Row:
    """Which rows a model was trained on, at which grid point, and what it continues from."""
    with naming(path):
        meta = as_kind(_FACTS[kind], weights.meta)
    if kind in ("specialist", "generalist"):
        own = {"point": _text(meta["point"]), "continues": meta.get("continues")}
        if kind == "specialist":
            return {"trained_on": meta["digest"], "rows": meta["rows"], **own}
        return {"trained_on": meta["trained_on"]["train"], "rows": meta["rows"]["train"], **own}
    if kind == "base":
        encoded = next((Path(file) for file in weights.made_from if file.endswith(".zip")), None)
        folder = results.name(encoded.parent) if encoded else None
        return {"trained_on": folder, "rows": meta["budget"]["training_rows"]}
    return {"trained_on": meta["trained_on"]["train"]}


def _named(results: Results, made_from: Iterable[str], file: str) -> str | None:
    """The artifact that a file of this name among those belongs to, if any."""
    return next((results.name(path) for path in made_from if path.endswith(f"/{file}")), None)


def training_runs(results: Results) -> Iterator[Row]:
    """Cost of each training or fit."""
    for path in _ledgers(results):
        ledger = read_made(path, LedgerRecord)
        yield {
            "run": results.name(path),
            "job": ledger["job"],
            "rows_seen": ledger["rows_seen"],
            "flops": ledger["flops"],
            "seconds": ledger["seconds"],
            "peak_memory_bytes": ledger["peak_memory_bytes"],
            "peak_gpu_memory_bytes": ledger["peak_gpu_memory_bytes"],
            "device": ledger["device"].get("name", ledger["device"]["kind"]),
            "threads": ledger["device"]["threads"],
            "host": ledger["host"],
            "versions": _text(ledger["versions"]),
            "ended": modified(path),
        }


def learning_curves(results: Results) -> Iterator[Row]:
    """The loss of each training as it went."""
    for path in _ledgers(results):
        curves = read_made(path, LedgerRecord).get("learning_curves", [])
        for number, curve in enumerate(curves):
            for step, seconds, loss in curve:
                yield {
                    "run": results.name(path),
                    "training": number,
                    "step": int(step),
                    "seconds": seconds,
                    "loss": loss,
                }


def choices(results: Results) -> Iterator[Row]:
    """Each partition's last candidates, the base among them, and their validation losses."""
    for path in results.files(glob(STAGES["train_choose"], "choice")):
        choice = read_made(path, Choice)
        if choice["next"]:
            continue
        sources = choice.get(MADE_FROM, {}).get("files", {})
        files = [file for file in sources if file.endswith("model.safetensors")]
        by_point = {_point(results, file): results.name(file) for file in files}
        candidates = {"base": _named(results, sources, "base.safetensors")} | by_point
        for candidate, model in candidates.items():
            yield {
                "choice": results.name(path),
                "partition": choice["partition"],
                "candidate": candidate,
                "model": model,
                "validation": choice["digests"]["validation"],
                "rows": choice["rows"],
                "loss": choice["losses"].get(candidate),
                "chosen": candidate == choice["point"],
            }


def _point(results: Results, file: str) -> str:
    """Id of a specialist's grid point, by which its slot is called unless it is a later one."""
    path = results.root / results.name(file) / "model.safetensors"
    if not path.exists():  # collected as garbage
        return results.place(file).wildcards["slot"]
    with naming(path):
        return settings_id(as_kind(AtPoint, read_weights(path).meta)["point"])


def gates(results: Results) -> Iterator[Row]:
    """Each specialist against the generalist on validation rows."""
    for path in results.files(glob(STAGES["gate"], "gate")):
        for each in read_made(path, GateRecord)["comparisons"]:
            yield {
                "gate": results.name(path),
                "partition": each["expert"],
                "rows": each["rows"],
                "units": each["units"],
                "difference": each["difference"],
                "gain": each["gain"],
                "share": each["share"],
            }


def evaluations(results: Results) -> Iterator[Row]:
    """Each contender's scores on the test rows."""
    for path in results.files(_EVALUATIONS):
        metrics = scored(path)
        if metrics is None:
            continue
        kinds = _contenders(results, metrics)
        by_name: dict[str, Any] = {**metrics}
        for contender in (name for name in CONTENDERS if name in by_name):
            scores = by_name[contender]
            worst = scores["worst_partition"] or {}
            yield {
                "evaluation": results.name(path),
                "dataset": results.place(path).wildcards["root"],
                "contender": contender,
                "model": kinds.get(contender),
                "metric": metrics["metric"],
                "score": scores["score"],
                "log_loss": scores["log_loss"],
                "calibration_error": scores["calibration_error"],
                "worst_partition": worst.get("partition"),
                "worst_score": worst.get("score"),
                "rows": metrics["rows"]["test"],
                "train_flops": scores["train_flops"],
                "inference_flops_per_row": scores["inference_flops_per_row"],
                "verdict": metrics["verdict"],
                "predictions": str(path.with_name("predictions.parquet")),
                "ended": modified(path),
            }


def _contenders(results: Results, metrics: Metrics) -> dict[str, str]:
    """The model behind each contender; the constant is none."""
    found = {}
    for path in metrics.get(MADE_FROM, {}).get("files", {}):
        place = parse(path)
        output = f"{place.stage.name}.{place.output}" if place else ""
        for contender in _CONTENDERS.get(output, ()):
            found[contender] = results.name(path)
    return found


def tensors(results: Results) -> Iterator[Row]:
    """Each tensor of each set of weights, with the hash that is recorded with it."""
    for kind in _KINDS:
        for path in _weights(results, kind):
            model = results.name(path)
            for each in read_weights(path).tensors:
                yield {
                    "model": model,
                    "tensor": each.name,
                    "layer": each.name.rpartition(".")[0] or each.name,
                    "hash": each.hash,
                    "dtype": each.dtype,
                    "shape": _text(each.shape),
                    "bytes": each.bytes,
                }


def modified(path: Path) -> datetime:
    """When a file was written, UTC."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).replace(tzinfo=None)


def _text(content: Any) -> str:  # noqa: ANN401 - any JSON value
    return json.dumps(content, sort_keys=True)
