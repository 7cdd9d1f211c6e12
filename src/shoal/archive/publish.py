"""Command ``pool-publish``: the current release where people look for it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.archive.keep import keep
from shoal.errors import DataError
from shoal.evaluate.verdict import refuse_leak
from shoal.formats.documents.judgement import DriftReport, Metrics
from shoal.formats.documents.manifest import PoolManifest
from shoal.formats.documents.plan import PlanRecord
from shoal.formats.files import replacing
from shoal.formats.json_file import read_made
from shoal.plan.history import History

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Release:
    """What is published together.

    Attributes:
        manifest: The pool's manifest; its files lie beside it.
        metrics: What evaluate measured.
        report: The report page.
        drift: How the rows differ from those that the generation was fitted on.
    """

    manifest: Path
    metrics: Path
    report: Path
    drift: Path


def publish(release: Release, plan: Path, on_drift: str, results: Path, record: Path) -> None:
    """Keep the models, copy pool, report and metrics to where people look; record the release last.

    A crash between leaves nothing recorded as published, so that the next run publishes again.
    A control that failed is never published: what was, stays, and each further run fails again.

    Args:
        release: The files.
        plan: The layout of the run, as the workflow wrote it when it started.
        on_drift: What is done by itself where the drift report recommends it.
        results: The folder of what is published.
        record: Where the release's record will lie.

    Raises:
        DataError: The layout is another run's, or models learnt labels that are shuffled.
    """
    content = read_made(plan, PlanRecord)
    if content["release"] != record.stem:
        raise DataError(
            f"{plan}: is of release {content['release']}, not {record.stem}; another run of this "
            f"experiment has started since: run the workflow again"
        )
    refuse_leak(read_made(release.metrics, Metrics), release.report)
    keep(content, release.metrics, results)
    history = History(results, Path(content["layout"]["root"]))
    history.withdraw()
    manifest = read_made(release.manifest, PoolManifest)
    _copy_pool(release.manifest, list(manifest["files"]), results / "pool")
    _copy(release.report, results / "report.html")
    _copy(release.drift, results / "drift.json")
    _copy(release.metrics, results / "metrics.json")
    advice = read_made(release.drift, DriftReport)["recommendation"]
    released = advice["partitions"] if (advice["action"], on_drift) == _RETRAIN else []
    made = {"rows": manifest["rows"], "released": released, "winners": _winners(manifest)}
    history.publish(content | made)
    if (advice["action"], on_drift) == _REFIT:
        history.start_generation(int(content["settings"]["generation"]) + 1)


_RETRAIN = ("retrain", "retrain")
_REFIT = ("refit", "refit")


def _winners(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
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
    """The pool's files, then the manifest; what an earlier pool had besides is removed."""
    for name in [*names, manifest.name]:
        _copy(manifest.parent / name, folder / name)
    for path in sorted(folder.rglob("*.safetensors")):
        if str(path.relative_to(folder)) not in names:
            path.unlink()


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as aside:
        shutil.copyfile(source, aside)
