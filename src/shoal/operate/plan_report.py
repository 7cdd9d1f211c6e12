"""Command ``plan``: what a run would do, why, and what it would cost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shoal.errors import ERROR
from shoal.formats.documents.judgement import DriftReport, Lack
from shoal.formats.json_file import read_made
from shoal.operate.estimate import Estimate
from shoal.operate.packs import outputs_of, packs_json, planned_packs
from shoal.operate.removal import seen_by_fits
from shoal.operate.row_changes import RowChanges
from shoal.operate.staleness import partition_states
from shoal.operate.why import differences, reasons
from shoal.plan.answers import answers_jobs
from shoal.plan.growths import growth
from shoal.plan.layout import Layout
from shoal.plan.plan import placeholders
from shoal.plan.stages import STAGES
from shoal.pool.incomplete import incomplete, name_of, read_failed
from shoal.terminal import say

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from shoal.formats.documents.index import PartitionIndex, PlannedIndex
    from shoal.formats.documents.judgement import Advice
    from shoal.formats.documents.mixes import Mixes
    from shoal.formats.documents.plan import Release
    from shoal.formats.kinds import Fold
    from shoal.operate.plan_document import (
        Growth,
        PlanDocument,
        PlannedJob,
        PlannedLink,
        PlannedPartition,
        Removed,
    )
    from shoal.operate.staleness import PartitionState
    from shoal.operate.why import Differences
    from shoal.plan.jobs import Job
    from shoal.plan.plan import Plan


@dataclass(frozen=True)
class Now:
    """A planned run.

    Attributes:
        plan: The experiment.
        index: Its partition index, or placeholders for it.
        exact: Whether it is the index; otherwise counts of jobs are upper bounds.
        jobs: All of its jobs, whether they have run or not.
        run: Those that would run.
        record: The published release; None before the first.
        before: Index of that release, where its partitions are those of the plan.
    """

    plan: Plan
    index: PlannedIndex
    exact: bool
    jobs: list[Job]
    run: list[Job]
    record: Release | None
    before: PartitionIndex | None


def plan_document(plan: Plan, profile: str | None, cores: str) -> PlanDocument:
    """The planned run as JSON; makes the partition index first where only rows changed.

    Args:
        plan: The experiment.
        profile: Snakemake's profile for making the index.
        cores: Its number of cores for that, or ``all``.

    Raises:
        SettingsError: A specialist would not fit a GPU.
        ModelError: The model's file has changed since the generation's base was trained.
        SystemExit: Snakemake failed to make the index; with its exit code.
    """
    plan.require_the_bases_model()
    now = _now(plan, profile, cores)
    estimate = Estimate(plan, now.index, now.jobs)
    packs = planned_packs(plan, estimate, now.run)
    in_full = packs if len(now.run) == len(now.jobs) else planned_packs(plan, estimate, now.jobs)
    packed, jobs = outputs_of(packs), [pack.job for pack in packs]
    changed = differences(plan, now.record)
    partitions = _partitions(now, changed, estimate, packed)
    rules: dict[str, list[Job]] = defaultdict(list)
    for job in (*now.run, *jobs):
        if job.partition is None:
            rules[job.rule].append(job)
    run = estimate.cost([*now.run, *jobs], packed)
    full = estimate.cost([*now.jobs, *(pack.job for pack in in_full)], outputs_of(in_full))
    listed = [job for job in now.run if packed.isdisjoint(job.outputs)]
    return {
        "experiment": plan.settings.name,
        "generation": plan.settings.generation,
        "release": now.record["release"] if now.record else None,
        "exact": now.exact,
        "partitions": partitions,
        "settings": [change.as_json() for change in changed.settings],
        "codes": changed.codes,
        "other_base": plan.needs_another_base,
        "refit_needed": _refit_needed(now),
        "removed": _removed(now, partitions),
        "incomplete": _incomplete(now),
        "drift": _drift(plan),
        "growth": _growth(now),
        "mixes": _mixes(now),
        "jobs": [_job_json(job) for job in (*listed, *jobs)],
        "packs": packs_json(plan, packs, estimate),
        "rules": {rule: estimate.cost(jobs).as_json() for rule, jobs in rules.items()},
        "total": {
            "run": run.as_json(),
            "full": full.as_json(),
            "percent": run.percent_of(full),
        },
    }


def _drift(plan: Plan) -> Advice | None:
    path = plan.home / "drift.json"
    return read_made(path, DriftReport)["recommendation"] if path.exists() else None


def _growth(now: Now) -> Growth | None:
    """Partitions that have been added since the published release."""
    layout = now.plan.layout
    before = now.record["layout"].get("grown", []) if now.record else []
    added = [each for each in layout.grown if each not in before]
    found = [growth(layout, each) or {} for each in added]
    if not found:
        return None
    partitions, rows = (sum(int(each.get(n, 0)) for each in found) for n in ("partitions", "rows"))
    return {"partitions": partitions, "rows": rows}


def _mixes(now: Now) -> Mixes | None:
    """What was found of mixes, if the index is not the published one."""
    published = now.record["layout"]["index_id"] if now.record else None
    return now.index.get("mixes") if published != now.plan.layout.index_id else None


def _now(plan: Plan, profile: str | None, cores: str) -> Now:
    layout, writes = plan.layout, False
    if fitted(layout) and (plan.growing or layout.read_index() is None):
        writes = _may_write(plan)
    if plan.growing and writes:
        look_for_growth(plan, profile, cores)
        plan.look_again()
        layout = plan.layout
    if layout.read_index() is None and writes:
        missing = len([job for job in layout.early_jobs() if job.missing])
        why = f"bringing the partition index up to date first, at most {missing} quick jobs"
        why += " and trainings on a sample, to compare mixes" if layout.compares else ""
        _make(plan, layout.index, why, profile, cores)
    index = layout.read_index()
    exact = index is not None and not plan.growing
    content = index if index is not None else placeholders(plan.settings)
    jobs = [*layout.jobs(content), *answers_jobs([plan])]
    record = plan.history.last
    before = None
    if record is not None and exact:
        earlier = Layout.from_json(record["layout"])
        same = (earlier.folder, earlier.fits["cluster"]) == (layout.folder, layout.fits["cluster"])
        before = earlier.read_index() if same else None
    return Now(plan, content, exact, jobs, [job for job in jobs if job.missing], record, before)


def fitted(layout: Layout) -> bool:
    """Whether the index takes no fit, but only what is applied to rows."""
    return not any(job.missing for job in layout.early_jobs() if STAGES[job.rule].frozen)


def _may_write(plan: Plan) -> bool:
    """Whether the index can be made here; says so where it cannot."""
    closed = [path for path in (Path.cwd(), plan.root) if not os.access(path, os.W_OK)]
    for path in closed[:1]:
        say(
            f"{path} is read-only, so the partition index stays out of date: this plan does not "
            "say which partitions changed"
        )
    return not closed


def look_for_growth(plan: Plan, profile: str | None, cores: str) -> dict[str, float]:
    """Partitions and training rows by which the assigner would grow; looks for them if need be.

    Args:
        plan: The experiment; its assigner is fitted.
        profile: Snakemake's profile for the jobs that this takes.
        cores: Its number of cores for them, or ``all``.

    Raises:
        SystemExit: Snakemake failed; with its exit code.
    """
    found = growth(plan.layout, plan.growth)
    if found is None:
        path = plan.layout.file("cluster_grow.ledger", grown_id=plan.growth)
        _make(plan, path, "looking for rows of a new kind first, by quick jobs", profile, cores)
        found = growth(plan.layout, plan.growth)
    return found or {}


def _make(plan: Plan, path: Path, why: str, profile: str | None, cores: str) -> None:
    """Apply the generation to the rows, by Snakemake, as far as a file needs it."""
    say(why)
    options = ["--cores", cores, "--scheduler", "greedy"]
    options += ["--profile", profile] if profile else []
    run_snakemake(plan, *options, str(path), plans=[plan])


def run_snakemake(plan: Plan, *arguments: str, plans: Sequence[Plan] = ()) -> None:
    """Run a plan's workflow in the current folder; what it prints is shown where it fails.

    A person's Ctrl-C reaches Snakemake as well, which is given the time to end its jobs.

    Args:
        plan: The experiment.
        arguments: What Snakemake is told besides.
        plans: Plans that the run is to be of, see :meth:`shoal.plan.plan.Plan.snakemake`.

    Raises:
        SystemExit: Snakemake failed; with its exit code.
    """
    command = plan.snakemake(*arguments, plans=plans)
    with subprocess.Popen(  # noqa: S603 - our own command
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            _, text = process.communicate()
        except KeyboardInterrupt:
            process.communicate()
            raise
    if process.returncode:
        lines = text.splitlines(keepends=True)
        reasons = [line for line in lines if line.startswith(ERROR)]
        sys.stderr.writelines(reasons or lines)
        raise SystemExit(process.returncode)


def _partitions(
    now: Now, changed: Differences, estimate: Estimate, packed: Container[Path]
) -> list[PlannedPartition]:
    run: dict[int, list[Job]] = defaultdict(list)
    for job in now.run:
        if job.partition is not None:
            run[job.partition].append(job)
    rows = None
    if now.before is not None and now.record is not None:
        sources = {shard: path for shard, (path, _) in now.plan.shards.items()}
        rows = RowChanges(Layout.from_json(now.record["layout"]), now.plan.layout, sources)
    found: list[PlannedPartition] = []
    failed = {lack["partition"] for lack in _incomplete(now) if not lack["specialist"]}
    for state in partition_states(now.before, now.index, run, failed):
        jobs = run.get(state.partition, [])
        files = rows.files_of(state.partition, state.folds) if rows and state.folds else []
        link = _link(state, jobs, estimate)
        found.append(
            {
                "partition": state.partition,
                "status": state.status,
                "rows": {"before": state.rows_before, "after": state.rows_after},
                "changes": _changes(state, rows),
                "waiting": state.waiting,
                "continued": link,
                "why": reasons(state, changed, files, len(jobs), link),
                "files": [{"path": file.path, "kind": file.kind} for file in files],
                "cost": estimate.cost(jobs, packed).as_json(),
            }
        )
    return found


def _link(state: PartitionState, jobs: Sequence[Job], estimate: Estimate) -> PlannedLink | None:
    """How a specialist continues, and its training's share of a search from the base."""
    if state.continued is None:
        return None
    own = [job for job in jobs if job.rule == "train_specialist"]
    return {
        "links": state.continued["links"],
        "added": state.continued["added"],
        "drawn": state.continued["drawn"],
        "flops": estimate.cost(own).flops if own else None,
        "from_base": estimate.from_base(own[0]) if own else None,
    }


def _changes(state: PartitionState, rows: RowChanges | None) -> dict[Fold, list[int] | None]:
    """Rows added and removed in each fold that changed."""
    if rows is None:
        return {}
    counts = {fold: rows.count(state.partition, fold) for fold in state.folds}
    return {fold: None if pair is None else list(pair) for fold, pair in counts.items()}


def _refit_needed(now: Now) -> list[str]:
    """Reasons to start the next generation that no run acts upon by itself."""
    found = [f"the code of {stage} changed" for stage in now.plan.outdated_fits()]
    unknown = now.index.get("unknown_labels")
    if unknown:
        found.append(f"training rows of classes that it does not know: {unknown}")
    return found


def _incomplete(now: Now) -> list[Lack]:
    """Specialists that the pool is made without because training failed."""
    layout = now.plan.layout
    lacks = set(layout.lacks(now.index))
    if not lacks:
        return []
    specialised = {int(entry["partition"]) for entry in layout.specialised(now.index)}
    failures = [each for each in read_failed(now.plan.failed_file) if name_of(each) in lacks]
    return incomplete(now.index["partitions"], specialised, failures)


def _removed(now: Now, partitions: Sequence[PlannedPartition]) -> Removed:
    """Where training rows that are gone have left something behind."""
    retrained, waiting = [], []
    for part in partitions:
        lost = part["changes"].get("train", [0, 0])
        if part["waiting"] is not None:
            waiting += [part["partition"]] if part["waiting"]["removed"] else []
        elif lost is None or lost[1]:
            retrained.append(part["partition"])
    seen = seen_by_fits(now.plan, now.index) if now.exact else []
    return {
        "retrained": retrained,
        "waiting": waiting,
        "seen": [each.as_json() for each in seen],
    }


def _job_json(job: Job) -> PlannedJob:
    return {
        "rule": job.rule,
        "about": job.about,
        "partition": job.partition,
        "outputs": [str(path) for path in job.outputs],
    }
