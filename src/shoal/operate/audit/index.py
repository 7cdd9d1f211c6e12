"""The partition index, made again from the shards' summaries and compared with the file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

from shoal.errors import ShoalError
from shoal.formats.documents.index import named_file
from shoal.formats.provenance import KEY as MADE_FROM

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from shoal.formats.documents.index import PlannedEntry, PlannedIndex
    from shoal.operate.audit.evidence import Evidence
    from shoal.plan.jobs import Job


def judged_index(evidence: Evidence) -> PlannedIndex | None:
    """The index that the summaries give, partitions that wait or continue taken from the file.

    Notes where the summaries put the rows. Where a summary is missing or wrong, the index is the
    file's content, unjudged.

    Returns:
        The index; None where there is no file that can be taken for one.
    """
    try:
        content = _without_record(evidence.content(evidence.plan.layout.index))
    except (ShoalError, AttributeError):
        return None
    merged = _merged(evidence)
    if merged is not None:
        index, evidence.members = merged
        content = _as_the_file_goes_on(index, content)
    elif not _is_index(content, evidence):
        return None
    return cast("PlannedIndex", content)


def check_index(job: Job, evidence: Evidence) -> None:
    """The file and the members beside it agree with the summaries."""
    (path,) = job.outputs
    remedy = evidence.remedy(job)
    content, expected = _without_record(evidence.content(path)), {**evidence.index}
    if content != expected:
        names = sorted(content.keys() | expected.keys())
        wrong = [name for name in names if content.get(name) != expected.get(name)]
        evidence.blame(path, f"not what the summaries give: {', '.join(wrong)}", remedy)
    for entry in evidence.index["partitions"]:
        if "waiting" in entry and not _has_waited(entry, evidence):
            number = entry["partition"]
            problem = f"partition {number} waits with a specialist of rows that it never had"
            evidence.blame(path, problem, remedy)
        if "continued" in entry and not _continues(entry, evidence):
            problem = f"partition {entry['partition']} continues from rows that it no longer has"
            evidence.blame(path, problem, remedy)
    _check_members(path, evidence)


def _merged(evidence: Evidence) -> tuple[dict[str, Any], dict[int, Any]] | None:
    """Index and members from the summaries; None where one of them is not to be trusted."""
    from shoal.cluster.assigner import load_assigner
    from shoal.partitions.index import merge_summaries

    layout, cluster = evidence.plan.layout, evidence.plan.settings.cluster
    assigner = layout.assigner
    paths = layout.files("assign.summary")
    if any(evidence.is_blamed(path) for path in (assigner, *paths)):
        return None
    contents = [evidence.content(path) for path in paths]
    partitions = load_assigner(assigner).partitions
    stops_early = evidence.plan.settings.train_specialists.patience is not None
    index, members = merge_summaries(
        contents, partitions, cluster.min_rows, layout.fits["cluster"], stops_early=stops_early
    )
    stores = layout.file("assign.rows", shard="any").parent
    index["stores"] = os.path.relpath(stores, layout.index.parent)
    return index, members


def _without_record(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name != MADE_FROM}


def _is_index(content: Any, evidence: Evidence) -> bool:  # noqa: ANN401 - any JSON value
    """Whether later jobs can be told from it."""
    try:
        return bool(list(evidence.plan.layout.later_jobs(content)))
    except (KeyError, TypeError):
        return False


def _as_the_file_goes_on(merged: dict[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """The merged index with the models that wait or continue in the file."""
    from shoal.partitions.index import roots

    kept = ("specialist", "waiting", "continued", "rewound", "cold")
    try:
        going_on = {
            entry["partition"]: {name: entry[name] for name in kept if name in entry}
            for entry in content["partitions"]
            if any(name in entry for name in kept[1:])
        }
    except (KeyError, TypeError):
        return merged
    entries = [entry | going_on.get(entry["partition"], {}) for entry in merged["partitions"]]
    index = {**merged, "partitions": entries}
    index |= {name: content[name] for name in ("continued", "mixes") if name in content}
    return index | {"root": roots(index)}


def _has_waited(entry: PlannedEntry, evidence: Evidence) -> bool:
    """Whether the index that a partition waits since gave its specialist."""
    since = named_file(evidence.plan.layout.index, entry["waiting"]["index"])
    try:
        entries = evidence.content(since)["partitions"]
    except ShoalError:
        return False
    return any(
        (old["partition"], old["specialist"]) == (entry["partition"], entry["specialist"])
        for old in entries
        if "waiting" not in old
    )


def _continues(entry: PlannedEntry, evidence: Evidence) -> bool:
    """Whether the rows of what a specialist continues from are among its own; if they are there."""
    from shoal.partitions.reader import Index
    from shoal.partitions.tolerance import row_changes

    path, continued, number = evidence.plan.layout.index, entry["continued"], entry["partition"]
    since = named_file(path, entry["waiting"]["index"]) if "waiting" in entry else path
    before = named_file(path, continued["index"])
    try:
        held = evidence.content(before)["partitions"][number]["specialist"]
        added, removed = row_changes(Index(before), Index(since), number, "train")
    except (ShoalError, IndexError):
        return True
    return (held, added, removed) == (continued["specialist"], continued["added"], 0)


def _check_members(index: Path, evidence: Evidence) -> None:
    for number, folds in evidence.members.items():
        path = index.parent / "members" / f"{number}.json"
        try:
            wrong = evidence.content(path) != folds
        except ShoalError:
            wrong = True
        if wrong:
            problem = "does not say where the summaries put the rows"
            evidence.blame(path, problem, f"remove {index} and run the workflow again")
