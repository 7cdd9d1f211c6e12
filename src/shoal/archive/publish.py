"""Publishes the current release where people look for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.archive.keep import keep
from shoal.archive.over_time import over_time, write_page
from shoal.deploy.publish import publish_copy
from shoal.evaluate.verdict import refuse_leak
from shoal.formats.documents.judgement import DriftReport, Judged
from shoal.formats.documents.manifest import PoolManifest
from shoal.formats.documents.plan import RunRecord, Winner
from shoal.formats.files import copy_file
from shoal.formats.json_file import read_made
from shoal.plan.growths import record_growths
from shoal.plan.history import History, now_text
from shoal.plan.layout import Layout
from shoal.plan.run_file import run_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shoal.formats.documents.plan import CopyOfRelease
    from shoal.settings.running import Changes


def pool_publish(
    manifest: Path,
    metrics: Path,
    report: Path,
    drift: Path,
    prequential: Sequence[Path],
    copies: Sequence[Path],
    patches: Sequence[Path],
    release_copy: CopyOfRelease | None,
    changes: Changes,
    run_path: Path,
    home: Path,
) -> None:
    """Keep the models, copy pool, report and metrics to where people look; record the release last.

    A crash between leaves nothing recorded as published, so that the next run publishes again.
    A control that failed is never published: what was, stays, and each further run fails again.

    Args:
        manifest: The pool's manifest; its files lie beside it.
        metrics: Scores and verdict of evaluate.
        report: The report page.
        drift: Comparison of the rows with those that the generation was fitted on.
        prequential: Scores of the pool before on rows that arrived, if a job looked for them.
        copies: Record of the copy for devices, where there is a channel.
        patches: Patches from earlier copies to it.
        release_copy: The copy's identity and manifest; None without a channel.
        changes: The action that is taken by itself where the drift report recommends it.
        run_path: The settings file of the run.
        home: The folder to publish in.

    Raises:
        DataError: Models learnt labels that are shuffled.
    """
    record = read_made(run_path, RunRecord)
    content = record["plan"]
    refuse_leak(read_made(metrics, Judged), report)
    keep(content, metrics, home)
    layout = Layout.from_json(content["layout"])
    history, drifted = History(home, Path(layout.root)), read_made(drift, DriftReport)
    told = over_time(layout, history, prequential, drifted, record["previous"]["reason"])
    history.withdraw()
    pool = read_made(manifest, PoolManifest)
    _copy_pool(manifest, list(pool["files"]), home / "pool")
    copy_file(report, home / "report.html")
    copy_file(drift, home / "drift.json")
    copy_file(metrics, home / "metrics.json")
    for record_of_copy in copies:
        publish_copy(record_of_copy, patches, home / "deploy")
    advice = drifted["recommendation"]
    released = advice["partitions"] if advice["action"] == changes.on_drift == "retrain" else []
    made = {"rows": pool["rows"], "released": released, "winners": _winners(pool)}
    release: dict[str, Any] = {**content, **made, "over_time": told, "published": now_text()}
    if release_copy is not None:
        release["copy"] = release_copy
    write_page(home, [*history.entries, release])
    record_growths(layout, layout.grown)
    history.publish({**release, "run": run_id(record)})
    if advice["action"] == changes.on_drift == "refit":
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
        copy_file(manifest.parent / name, folder / name)
    for path in sorted(folder.rglob("*.safetensors")):
        if str(path.relative_to(folder)) not in names:
            path.unlink()
