"""Where the Snakefile meets the plan: its start and its end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.errors import ERROR, ShoalError
from shoal.evaluate.leaks import leak_lines
from shoal.files import read_json
from shoal.terminal import leave, say
from shoal.workflow.failed import failed_specialists, record_failed
from shoal.workflow.rules import RulesPlan
from shoal.workflow.run_log import read_logs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_started = time.time()


def start(config: Mapping[str, Any], workflow: Any) -> RulesPlan:  # noqa: ANN401 - Snakemake's object
    """The plan of the configured experiment; on a user's mistake one line and exit code 2."""
    folder = Path(workflow.basedir) / "config"
    try:
        plan = RulesPlan(config, folder, workflow)
    except ShoalError as error:
        leave([str(error)])
    stages = plan.outdated_fits()
    if stages:
        say(
            f"refit needed: the code of {', '.join(stages)} has changed since generation "
            f"{plan.settings.generation} was fitted; it stays as it is, "
            f"`{plan.command('refit')}` starts the next one"
        )
    index = plan.layout.read_index() or {}
    if index.get("unknown_labels"):
        say(
            f"refit needed: {index['unknown_labels']} training rows are of classes that "
            f"generation {plan.settings.generation} does not know; no model learns them, "
            f"`{plan.command('refit')}` starts the next one"
        )
    return plan


def begin(plan: RulesPlan) -> None:
    """What the main process does before the first job: look at the cluster, write the records."""
    if plan.is_on_cluster:
        from shoal.workflow.cluster_check import check_cluster

        try:
            check_cluster(plan.settings.nodes)
        except ShoalError as error:
            leave([str(error)])
    plan.write_records()


def end_well(plan: RulesPlan, logs: Sequence[str]) -> None:
    """What is left to do when every job has ended well.

    Args:
        plan: The plan of the run.
        logs: Snakemake's own log files.
    """
    if plan.is_main_process:
        record_failed(plan.failed_file)
        _warn_of_leaks(plan)
        _summarise(plan, logs)


def end_with_failures(plan: RulesPlan, logs: Sequence[str]) -> None:
    """Record the specialists that failed, repeat the one-line reasons from the logs of jobs.

    Ends the process with exit code 2 if there are any.

    Args:
        plan: The plan of the run.
        logs: Snakemake's own log files.
    """
    if plan.is_main_process:
        _record_specialists(plan, read_logs(logs))
        _warn_of_leaks(plan)
        _summarise(plan, logs)
    reasons = [
        line.removeprefix(ERROR)
        for path in sorted(plan.logs.rglob("*.log"))
        if path.stat().st_mtime >= _started
        for line in path.read_text(errors="replace").splitlines()
        if line.startswith(ERROR)
    ]
    if reasons:
        leave([_with_files(reason, plan) for reason in reasons])


def _record_specialists(plan: RulesPlan, text: str) -> None:
    failures = list(failed_specialists(text, plan.layout))
    record_failed(plan.failed_file, failures)
    if not failures:
        return
    them = "1 specialist" if len(failures) == 1 else f"{len(failures)} specialists"
    advice = "the next run leaves what failed out of the pool"
    if not plan.settings.changes.incomplete:
        advice = "changes.incomplete=true among the overrides builds the pool without"
    say(f"training failed for {them}, see {plan.failed_file}; {advice}")


def _warn_of_leaks(plan: RulesPlan) -> None:
    """What the leak check found in the rows of this run."""
    if plan.layout.check.exists():
        for line in leak_lines(read_json(plan.layout.check)["leaks"]):
            say(line)


def _summarise(plan: RulesPlan, logs: Sequence[str]) -> None:
    """What a run on a cluster took."""
    if plan.is_on_cluster:
        from shoal.workflow.cluster_summary import summarise_run

        summarise_run(plan.root, plan.settings.name, plan.settings.nodes, read_logs(logs))


def _with_files(reason: str, plan: RulesPlan) -> str:
    """A reason that begins with a shard's name, with the name of its source file instead."""
    for shard, (path, _) in plan.shards.items():
        if reason.startswith(f"{shard}:"):
            return f"{path}{reason.removeprefix(shard)}"
    return reason
