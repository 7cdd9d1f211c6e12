"""Publishes the current release where people look for it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from shoal.archive.keep import keep
from shoal.errors import DataError
from shoal.evaluate.verdict import refuse_leak
from shoal.formats.documents.judgement import DriftReport, Metrics
from shoal.formats.documents.manifest import PoolManifest
from shoal.formats.documents.plan import PlanRecord, Winner
from shoal.formats.files import replacing
from shoal.formats.json_file import read_made
from shoal.plan.history import History


@dataclass(frozen=True)
class Publication:
    """The files that are published together.

    Attributes:
        manifest: The pool's manifest; its files lie beside it.
        metrics: Scores and verdict of evaluate.
        report: The report page.
        drift: Comparison of the rows with those that the generation was fitted on.
    """

    manifest: Path
    metrics: Path
    report: Path
    drift: Path


def publish(files: Publication, plan: Path, on_drift: str, results: Path, record: Path) -> None:
    """Keep the models, copy pool, report and metrics to where people look; record the release last.

    A crash between leaves nothing recorded as published, so that the next run publishes again.
    A control that failed is never published: what was, stays, and each further run fails again.

    Args:
        files: The files.
        plan: The record of the run, as the workflow wrote it when it started.
        on_drift: The action that is taken by itself where the drift report recommends it.
        results: The folder to publish in.
        record: The path of the release's record.

    Raises:
        DataError: The layout is another run's, or models learnt labels that are shuffled.
    """
    content = read_made(plan, PlanRecord)
    if content["release"] != record.stem:
        raise DataError(
            f"{plan}: is of release {content['release']}, not {record.stem}; another run of this "
            f"experiment has started since: run the workflow again"
        )
    refuse_leak(read_made(files.metrics, Metrics), files.report)
    keep(content, files.metrics, results)
    history = History(results, Path(content["layout"]["root"]))
    history.withdraw()
    manifest = read_made(files.manifest, PoolManifest)
    _copy_pool(files.manifest, list(manifest["files"]), results / "pool")
    _copy(files.report, results / "report.html")
    _copy(files.drift, results / "drift.json")
    _copy(files.metrics, results / "metrics.json")
    advice = read_made(files.drift, DriftReport)["recommendation"]
    released = advice["partitions"] if advice["action"] == on_drift == "retrain" else []
    made = {"rows": manifest["rows"], "released": released, "winners": _winners(manifest)}
    history.publish(content | made)
    if advice["action"] == on_drift == "refit":
        history.start_generation(int(content["settings"]["generation"]) + 1)


def _winners(manifest: PoolManifest) -> list[Winner]:
    """The chosen grid point of each partition, and the digests of the rows that decided it."""
    return [
        {
            "partition": each["partition"],
            "train": each["digest"],
            "validation": each["validation"],
            "point": each["point"],
        }
        for each in manifest["specialists"]
    ]


def _copy_pool(manifest: Path, names: list[str], folder: Path) -> None:
    """Copy the pool's files, then the manifest; remove other weights of an earlier pool."""
    for name in [*names, manifest.name]:
        _copy(manifest.parent / name, folder / name)
    for path in sorted(folder.rglob("*.safetensors")):
        if str(path.relative_to(folder)) not in names:
            path.unlink()


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as aside:
        shutil.copyfile(source, aside)
