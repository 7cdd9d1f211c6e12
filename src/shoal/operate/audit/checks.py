"""One check a kind of artifact: what it says of itself against its path and what it belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.errors import ShoalError
from shoal.formats.documents.choice import Choice, chosen_file
from shoal.formats.documents.index import named_file
from shoal.formats.hashing import canonical_json
from shoal.operate.audit.index import check_index
from shoal.plan.layout import Layout
from shoal.plan.paths import inputs
from shoal.plan.plan import SOURCE_HASHES
from shoal.plan.stages import STAGES
from shoal.search.slot_names import number_of, validation_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shoal.formats.documents.index import Continued
    from shoal.operate.audit.evidence import Evidence
    from shoal.plan.jobs import Job


def check_table(job: Job, evidence: Evidence) -> None:
    """A table was read from the content that its shard stands for, whatever the file's name."""
    table = job.outputs[0]
    source, _ = evidence.plan.shards[job.wildcards["shard"]]
    files = (evidence.read(table).made_from or {})["files"]
    contents = {content for name, content in files.items() if Path(name) not in evidence.makers}
    if contents != {evidence.hash(source)}:
        problem = f"was read from other content than {source} has"
        cache = evidence.plan.root / SOURCE_HASHES
        advice = f"remove it and {cache}, and run the workflow again"
        evidence.blame(table, problem, advice)


def check_assignment(job: Job, evidence: Evidence) -> None:
    """A shard's summary counts this store, of this shard, as its rows are."""
    rows, summary, _ = job.outputs
    content = evidence.content(summary)
    if content["shard"] != job.wildcards["shard"]:
        evidence.blame(summary, f"is of shard {content['shard']}", evidence.remedy(job))
    if content["store"] != evidence.hash(rows):
        problem = f"is not the store that {summary} counts"
        evidence.blame(rows, problem, evidence.remedy(job))
    elif any(content[name] != counted for name, counted in _counted(rows).items()):
        evidence.blame(summary, "does not count the rows of its store", evidence.remedy(job))


def check_specialist(job: Job, evidence: Evidence) -> None:
    """A slot was trained on its path's rows, at the point that its path or the decision says."""
    path = job.outputs[0]
    meta = evidence.content(path)
    digest, step, slot = (job.wildcards[name] for name in ("digest", "step", "slot"))
    links = {
        entry["specialist"]: entry["continued"]
        for entry in evidence.index["partitions"]
        if "continued" in entry
    }
    if digest in links:
        point = links[digest]["point"]
        _check_parent(path, links[digest], job, evidence)
    elif step == "0":
        point = evidence.plan.grid[slot]
    else:
        search = evidence.plan.layout.search(digest, validation_of(slot))
        decision = search.decision(int(step) - 1)
        if evidence.is_blamed(decision):
            return
        point = evidence.content(decision)["next"][number_of(slot)]["point"]
    if meta["digest"] != digest:
        problem = f"was trained on rows of digest {meta['digest']}"
        evidence.blame(path, problem, evidence.remedy(job))
    if canonical_json(meta["point"]) != canonical_json(point):
        problem = f"was trained at another grid point, {canonical_json(meta['point'])}"
        evidence.blame(path, problem, evidence.remedy(job))


def check_generalist(job: Job, evidence: Evidence) -> None:
    """A generalist that continues was trained on from the weights that the index names."""
    continued = evidence.index.get("continued")
    if continued is not None and continued["weights"]:
        _check_parent(job.outputs[0], continued, job, evidence)


def _check_parent(path: Path, continued: Continued, job: Job, evidence: Evidence) -> None:
    """A model says by name and content what it continues from; that may be gone since."""
    meta = evidence.content(path)
    if meta.get("continues") != continued["specialist"]:
        problem = f"continues from {meta.get('continues')}"
        evidence.blame(path, problem, evidence.remedy(job))
        return
    parent = named_file(evidence.plan.layout.index, continued["weights"])
    if evidence.hash(parent) not in (None, meta.get("parent")):
        problem = f"was trained on from another {parent} than the one that is there"
        # The store has the parent's weights; what is trained again from others would not be right.
        advice = "remove both and run the workflow again, which has the former from the model store"
        if "copy" in continued:
            advice = f"bring {parent} back from a copy of the results"
        evidence.blame(path, problem, advice)


def check_choice(job: Job, evidence: Evidence) -> None:
    """A decision is of its path's rows, and among what was trained before it."""
    (path,) = job.outputs
    content, plan = evidence.content(path), evidence.plan
    digest, step, validation = (job.wildcards[name] for name in ("digest", "step", "validation"))
    if content["digests"] != {"train": digest, "validation": validation}:
        evidence.blame(path, "was made on rows of other digests", evidence.remedy(job))
    if not plan.steps.proposes and content["point"] not in plan.grid:
        problem = f"chooses {content['point']}, which is no point of the grid"
        evidence.blame(path, problem, evidence.remedy(job))
    search = plan.layout.search(digest, validation)
    if chosen_file(path, content) not in search.compared(int(step)):
        problem = f"chooses {content['specialist']}, which is no candidate"
        evidence.blame(path, problem, evidence.remedy(job))
    going_on = [each["after"] for each in content["next"] if each["after"] is not None]
    if going_on and sorted(going_on) != sorted(search.names(int(step))):
        evidence.blame(path, "does not rank the slots of its step", evidence.remedy(job))


def check_pool(job: Job, evidence: Evidence) -> None:
    """A pool holds the chosen specialists and the generation's state, as its manifest says."""
    (path,) = job.outputs
    manifest = evidence.content(path)
    advice = f"remove {path} and run the workflow again"
    for name, content in manifest["files"].items():
        file = path.parent / name
        if evidence.hash(file) != content:
            evidence.blame(file, f"is not the file that {path} lists", advice)
    if manifest["rows"] != evidence.index["root"]["fit"]:
        evidence.blame(path, f"is of other rows, {manifest['rows']}", advice)
    chosen = _chosen(evidence)
    if chosen is None:
        return
    said = {
        each["partition"]: (each["digest"], each["point"]["id"]) for each in manifest["specialists"]
    }
    if said != {n: (each["digests"]["train"], each["point"]) for n, (_, each) in chosen.items()}:
        evidence.blame(path, "does not hold the specialists that were chosen", advice)
        return
    originals = {
        each["file"]: chosen_file(*chosen[each["partition"]]) for each in manifest["specialists"]
    }
    originals |= {name: file for name, file in _state(job, evidence) if name in manifest["files"]}
    for name, original in originals.items():
        evidence.compare(path, original, manifest["files"][name])


def _state(job: Job, evidence: Evidence) -> Iterator[tuple[str, Path]]:
    """Files of a pool beside its specialists: name in the pool and the file it is a copy of.

    A copy has the name of the stage's input.
    """
    stage = STAGES[job.rule]
    files = inputs(evidence.plan.layout, stage, job.wildcards, evidence.index)
    for name, path in files.items():
        if isinstance(path, Path) and stage.inputs[name].recorded:
            yield f"{name}{path.suffix}", path


def check_published(job: Job, evidence: Evidence) -> None:
    """Published files are copies of the current release."""
    (record,) = job.outputs
    content, plan = evidence.content(record), evidence.plan
    layout, index = plan.layout, evidence.index
    if content["release"] != layout.release or Layout.from_json(content["layout"]) != layout:
        evidence.blame(record, "is the record of another release", evidence.remedy(job))
    copies = {
        plan.home / "metrics.json": layout.file("evaluate.metrics", index),
        plan.home / "report.html": layout.file("evaluate.report", index),
        plan.home / "drift.json": layout.file("evaluate_drift.drift", index),
        **_pool_copies(evidence),
    }
    advice = f"remove {record} and run the workflow again"
    for copy, original in copies.items():
        if not evidence.is_blamed(original) and evidence.hash(copy) != evidence.hash(original):
            evidence.blame(copy, f"is not a copy of {original}", advice)
    for path in sorted((plan.home / "pool").rglob("[!.]*.safetensors")):
        if path not in copies:
            evidence.blame(path, "is left from another release", advice)


def _counted(rows: Path) -> dict[str, Any]:
    """A row store's groups, rows of each runner-up and rows that choose, counted again."""
    import numpy as np

    from shoal.formats.kinds import VALIDATION
    from shoal.formats.row_store import ShardRows
    from shoal.formats.units import UNIT
    from shoal.partitions.grouping import asked, choosing, groups
    from shoal.partitions.index import UNASSIGNED
    from shoal.partitions.reader import halves

    with ShardRows(rows) as store:
        names = ("partition", "fold", "hash", "runner_up")
        partition, fold, hashes, runner_up = (store.read(name) for name in names)
        held = np.flatnonzero((fold == VALIDATION) & (partition != UNASSIGNED))
        half = halves({name: store.read(name)[held] for name in store.names(("key", UNIT))})
    first = held[half == 0]
    return {
        "groups": groups(partition, fold, hashes),
        "asked": asked(runner_up, fold, hashes),
        "choosing": choosing(partition[first], hashes[first]),
    }


def _chosen(evidence: Evidence) -> dict[int, tuple[Path, Choice]] | None:
    """The choice of each partition that has a specialist; None where one is in doubt."""
    chosen: dict[int, tuple[Path, Choice]] = {}
    for entry in evidence.plan.layout.specialised(evidence.index):
        path = evidence.plan.layout.choice(entry)
        if evidence.is_blamed(path):
            return None
        chosen[entry["partition"]] = path, evidence.content(path)
    return chosen


def _pool_copies(evidence: Evidence) -> dict[Path, Path]:
    manifest = evidence.plan.layout.file("pool.manifest", evidence.index)
    folder = evidence.plan.home / "pool"
    try:
        names = [*evidence.content(manifest)["files"], manifest.name]
    except ShoalError:
        return {path: path for path in folder.rglob("*.safetensors")}
    return {folder / name: manifest.parent / name for name in names}


CHECKS: dict[str, Callable[[Job, Evidence], None]] = {
    "split": check_table,
    "assign": check_assignment,
    "partition": check_index,
    "train_specialist": check_specialist,
    "evaluate_generalist": check_generalist,
    "train_choose": check_choice,
    "pool": check_pool,
    "pool_publish": check_published,
}
"""Checks by the rule that makes the artifact; readable and rightly made it is by then."""
