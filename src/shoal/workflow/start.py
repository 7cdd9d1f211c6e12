"""Where the Snakefile meets the plan: its start and its end."""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.errors import ERROR, SettingsError
from shoal.formats.documents.judgement import Check, DriftReport
from shoal.formats.json_file import read_made
from shoal.plan.failures import Reason, failed_specialists, reasons, record_failed
from shoal.plan.plan import OTHER_BASE
from shoal.plan.run_file import write_once
from shoal.plan.run_log import failed_jobs, read_logs
from shoal.plan.running import announce
from shoal.pool.manifest import MANIFEST, pool_digest
from shoal.report.words import doubt_lines
from shoal.settings.config_files import project_config
from shoal.terminal import command, leave, reason_of, say
from shoal.workflow.class_check import check_named_classes
from shoal.workflow.mode import Mode
from shoal.workflow.plans import Plans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from shoal.formats.documents.plan import FailedSpecialist
    from shoal.workflow.rules import RulesPlan

_started = time.time()


def start(config: Mapping[str, Any], workflow: Any) -> Plans:  # noqa: ANN401 - Snakemake's object
    """The plans of the configured experiment; on a user's mistake one line and exit code 2."""
    # What Snakemake plans with are millions of objects that stay; it takes a tenth of the time of a
    # large plan to look through them for garbage as often as Python does by default.
    gc.set_threshold(100_000, 50, 50)
    # The `python -m` of a job's own process is not to import from the current folder either.
    os.environ["PYTHONSAFEPATH"] = "1"
    with command():
        folder = project_config(Path(workflow.basedir))
        return _started_plans(Plans(config, folder, workflow))


def _started_plans(plans: Plans) -> Plans:
    """The plans, after a word on what only a refit can mend.

    Raises:
        SettingsError: Copies are to have a graph, which cannot be made here.
    """
    check_graphs(plans)
    refit, generation = plans.first.command("refit"), plans.settings.generation
    stages = dict.fromkeys(stage for plan in plans.all for stage in plan.outdated_fits())
    if stages:
        say(
            f"refit needed: the code of {', '.join(stages)} has changed since generation "
            f"{generation} was fitted; it stays as it is, `{refit}` starts the next one"
        )
    if any(plan.needs_another_base for plan in plans.all):
        say(f"refit of the base: {OTHER_BASE}")
    indexes = filter(None, (plan.layout.read_index() for plan in plans.all))
    unknown = max((index["unknown_labels"] for index in indexes), default=0)
    if unknown:
        say(
            f"refit needed: {unknown} training rows are of classes that generation {generation} "
            f"does not know; no model learns them, `{refit}` starts the next one"
        )
    return plans


def check_graphs(plans: Plans) -> None:
    """Refuse copies with a graph where none can be made.

    Raises:
        SettingsError: The model has a loss of its own, or a package is not installed.
    """
    for settings in (plan.settings for plan in plans.all):
        deploy, target = settings.deploy, settings.model.target
        if deploy.method == "none" or not deploy.graph:
            continue
        from shoal.deploy.graph import check_packages, needs_graph

        if not needs_graph(target):
            continue
        if settings.sources.task == "own":
            raise SettingsError(
                f"deploy.graph: model {target} has a loss of its own (sources.task is own), which "
                f"devices do not mix; set it to false"
            )
        if not plans.jobs_have_own_environments:
            check_packages(f"deploy.graph: the graph of model {target}")


def begin(plans: Plans) -> None:
    """In the main process, before the first job: check what the run needs, write its records."""
    with command():
        if plans.first.is_on_cluster:
            from shoal.operate.slurm.check import check_cluster
            from shoal.operate.slurm.one_start import start_snakemake_once

            check_cluster(plans.settings.nodes)
            start_snakemake_once()
        for plan in plans.all:
            write_once(plan.run_file, plan.record)
        _make_demo(plans.first)
        check_named_classes(plans)
        if plans.mode is Mode.AGAIN:
            say(
                f"generation {plans.settings.generation} stays as it was fitted, baselines "
                f"included; all else is made again. `{plans.first.command('refit')}` starts the "
                f"next generation"
            )
        announce(plans.first.root)
        for plan in plans.asked:
            plan.write_records()


def _make_demo(plan: RulesPlan) -> None:
    """Make the demo's source files where a plan has them and they are not there."""
    from shoal.demo import DEMO_FOLDER, make_demo

    is_there = any(path.exists() for path, _ in plan.shards.values())
    if plan.settings.sources.folder == DEMO_FOLDER and not is_there:
        make_demo(Path(DEMO_FOLDER))


def end_well(plans: Plans, logs: Sequence[str]) -> None:
    """Finish a run in which every job has ended well.

    Args:
        plans: The plans of the run.
        logs: Snakemake's own log files.
    """
    if plans.is_main_process:
        with command():
            for plan in plans.all:
                record_failed(plan.failed_file)
            _say_doubts(plans)
            _say_new_kind(plans)
            _summarise(plans.first, logs)
            say_digests(plans)


def end_with_failures(plans: Plans, logs: Sequence[str]) -> None:
    """Record the specialists that failed; end the process with the reason of each failed job.

    Whatever cannot be recorded, the reasons come last. The exit code is 2 where all of them are
    the user's to mend, else 1; where a person stopped the run there are none, and it goes on.

    Args:
        plans: The plans of the run.
        logs: Snakemake's own log files.
    """
    with command():
        jobs = failed_jobs(read_logs(logs))
        found = list(reasons(jobs))
        told = {each.text for each in found}
        found += [each for each in _reasons_in_logs(plans.first) if each.text not in told]
    if plans.is_main_process:
        failures = list(failed_specialists(jobs))
        for plan in plans.all:
            _try(_record_specialists, plan, failures)
        _try(_say_doubts, plans)
        _try(_summarise, plans.first, logs)
    if found:
        _try(plans.write_out_logs)
        code = 2 if all(each.is_mistake for each in found) else 1
        leave([_with_files(each.text, plans.first) for each in found], code)


def _try(step: Callable[..., None], *arguments: object) -> None:
    """Do what is not to hide the reason of a failed job, and say if it does not succeed."""
    try:
        step(*arguments)
    except Exception as error:
        say(reason_of(error)[0])


def _reasons_in_logs(plan: RulesPlan) -> Iterator[Reason]:
    """Reasons in logs that jobs wrote in this run.

    Snakemake's own log may lack some: it may be cut short, and jobs that fail at once may write
    into each other's lines.
    """
    for path in sorted(plan.logs.rglob("*.log")):
        if path.stat().st_mtime >= _started:
            for line in path.read_text(errors="replace").splitlines():
                if line.startswith(ERROR):
                    yield Reason(line.removeprefix(ERROR))


def _record_specialists(plan: RulesPlan, failures: Sequence[FailedSpecialist]) -> None:
    own = [each for each in failures if plan.layout.has_slot(each)]
    record_failed(plan.failed_file, own)
    if not own:
        return
    them = "1 specialist" if len(own) == 1 else f"{len(own)} specialists"
    advice = "the next run leaves what failed out of the pool"
    if not plan.settings.changes.incomplete:
        advice = "changes.incomplete=true among the overrides builds the pool without"
    say(f"training failed for {them}, see {plan.failed_file}; {advice}")


def _say_doubts(plans: Plans) -> None:
    """Print the doubts that the check of all rows raised, each split's once."""
    checks = dict.fromkeys(plan.layout.file("split_check.check") for plan in plans.all)
    found = [
        line for path in checks if path.exists() for line in doubt_lines(read_made(path, Check))
    ]
    for line in dict.fromkeys(found):
        say(line)


def _say_new_kind(plans: Plans) -> None:
    """Name the command that answers drift, where rows of a new kind have come."""
    reports = [path for plan in plans.all if (path := plan.home / "drift.json").exists()]
    actions = (read_made(path, DriftReport)["recommendation"]["action"] for path in reports)
    if "grow" in actions:
        command = plans.first.command("grow")
        say(f"rows of a new kind have come: `{command}` adds partitions for them")


def say_digests(plans: Plans) -> None:
    """By what a pool is known again, `shoal predict --digest`."""
    for plan in plans.asked:
        if (plan.home / "pool" / MANIFEST).exists():
            say(f"pool {plan.home / 'pool'}: digest {pool_digest(plan.home / 'pool')}")


def _summarise(plan: RulesPlan, logs: Sequence[str]) -> None:
    """Write the time and memory of a run on a cluster."""
    if plan.is_on_cluster:
        from shoal.operate.slurm.summary import summarise_run

        summarise_run(plan.root, plan.settings.name, plan.settings.nodes, read_logs(logs))


def _with_files(reason: str, plan: RulesPlan) -> str:
    """A reason that begins with a shard's name, with the name of its source file instead."""
    for shard, (path, _) in plan.shards.items():
        if reason.startswith(f"{shard}:"):
            return f"{path}{reason.removeprefix(shard)}"
    return reason
