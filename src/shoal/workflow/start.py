"""Where the Snakefile meets the plan: its start and its end."""

from __future__ import annotations

import gc
import inspect
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.errors import ERROR, ShoalError
from shoal.evaluate.leaks import doubt_lines
from shoal.files import read_json
from shoal.terminal import leave, say
from shoal.workflow.failed import failed_specialists, record_failed
from shoal.workflow.plans import Plans
from shoal.workflow.run_log import read_logs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shoal.pool.incomplete import Failure
    from shoal.workflow.rules import RulesPlan

_started = time.time()


def start(config: Mapping[str, Any], workflow: Any) -> Plans:  # noqa: ANN401 - Snakemake's object
    """The plans of the configured experiment; on a user's mistake one line and exit code 2."""
    # What Snakemake plans with are millions of objects that stay; it takes a tenth of the time of a
    # large plan to look through them for garbage as often as Python does by default.
    gc.set_threshold(100_000, 50, 50)
    folder = Path(workflow.basedir) / "config"
    try:
        plans = Plans(config, folder, workflow)
    except ShoalError as error:
        leave([str(error)])
    refit, generation = plans.first.command("refit"), plans.settings.generation
    stages = dict.fromkeys(stage for plan in plans.all for stage in plan.outdated_fits())
    if stages:
        say(
            f"refit needed: the code of {', '.join(stages)} has changed since generation "
            f"{generation} was fitted; it stays as it is, `{refit}` starts the next one"
        )
    unknown = max((plan.layout.read_index() or {}).get("unknown_labels", 0) for plan in plans.all)
    if unknown:
        say(
            f"refit needed: {unknown} training rows are of classes that generation {generation} "
            f"does not know; no model learns them, `{refit}` starts the next one"
        )
    return plans


def keep_signatures(rules: Iterable[Any]) -> None:
    """Have each input and params function of some rules hold its signature.

    Snakemake asks for it several times for each job, and Python works it out anew each time.
    """
    for rule in rules:
        for function in filter(inspect.isfunction, (*rule.input, *rule.params)):
            vars(function)["__signature__"] = inspect.signature(function)


def begin(plans: Plans) -> None:
    """What the main process does before the first job: look at the cluster, write the records."""
    if plans.first.is_on_cluster:
        from shoal.workflow.cluster_check import check_cluster

        try:
            check_cluster(plans.settings.nodes)
        except ShoalError as error:
            leave([str(error)])
    for plan in plans.all:
        plan.write_records()


def end_well(plans: Plans, logs: Sequence[str]) -> None:
    """What is left to do when every job has ended well.

    Args:
        plans: The plans of the run.
        logs: Snakemake's own log files.
    """
    if plans.is_main_process:
        for plan in plans.all:
            record_failed(plan.failed_file)
        _say_doubts(plans)
        _summarise(plans.first, logs)


def end_with_failures(plans: Plans, logs: Sequence[str]) -> None:
    """Record the specialists that failed, repeat the one-line reasons from the logs of jobs.

    Ends the process with exit code 2 if there are any.

    Args:
        plans: The plans of the run.
        logs: Snakemake's own log files.
    """
    if plans.is_main_process:
        failures = list(failed_specialists(read_logs(logs)))
        for plan in plans.all:
            _record_specialists(plan, failures)
        _say_doubts(plans)
        _summarise(plans.first, logs)
    reasons = [
        line.removeprefix(ERROR)
        for path in sorted(plans.first.logs.rglob("*.log"))
        if path.stat().st_mtime >= _started
        for line in path.read_text(errors="replace").splitlines()
        if line.startswith(ERROR)
    ]
    if reasons:
        leave([_with_files(reason, plans.first) for reason in reasons])


def _record_specialists(plan: RulesPlan, failures: Sequence[Failure]) -> None:
    folder = str(plan.layout.specialists)
    own = [each for each in failures if each.specialists == folder]
    record_failed(plan.failed_file, own)
    if not own:
        return
    them = "1 specialist" if len(own) == 1 else f"{len(own)} specialists"
    advice = "the next run leaves what failed out of the pool"
    if not plan.settings.changes.incomplete:
        advice = "changes.incomplete=true among the overrides builds the pool without"
    say(f"training failed for {them}, see {plan.failed_file}; {advice}")


def _say_doubts(plans: Plans) -> None:
    """What the check of all rows found to be doubtful, each split's once."""
    checks = dict.fromkeys(plan.layout.check for plan in plans.all)
    found = [line for path in checks if path.exists() for line in doubt_lines(read_json(path))]
    for line in dict.fromkeys(found):
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
