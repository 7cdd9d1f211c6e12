"""What a run on Slurm took: jobs, node-hours, waiting, failures, asked against used."""

from __future__ import annotations

import os
import sys
from collections import Counter, defaultdict
from statistics import median
from typing import TYPE_CHECKING, Any

from shoal.formats.files import replacing
from shoal.formats.json_file import write_json
from shoal.operate.slurm.accounts import ask_accounts
from shoal.plan.run_log import efficiency_report, submissions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from shoal.operate.slurm.accounts import Accounted
    from shoal.plan.run_log import Submission
    from shoal.settings.nodes import NodeClass, Nodes

PAGE = "cluster.html"
SUMMARY = "cluster.json"
_HOUR = 3600


def summarise_run(root: Path, name: str, nodes: Nodes, text: str) -> None:
    """Print what a run took, and write ``cluster.json`` and ``cluster.html``.

    Args:
        root: The experiment's results folder.
        name: The experiment.
        nodes: Classes of nodes.
        text: Snakemake's log of the run; nothing is done where it submitted nothing.
    """
    from rich.console import Console

    from shoal.operate.slurm.page import cluster_page, cluster_table

    submitted = submissions(text)
    if not submitted:
        return
    accounts, problem = ask_accounts([each.slurm for each in submitted])
    summary = cluster_summary(submitted, accounts, nodes) | {"accounting": problem or "complete"}
    report = efficiency_report(text)
    summary["efficiency_report"] = os.path.relpath(report, root) if report else None
    write_json(root / SUMMARY, summary)
    with replacing(root / PAGE) as aside:
        aside.write_text(cluster_page(name, summary))
    Console(file=sys.stderr).print(cluster_table(summary, root / PAGE))


def cluster_summary(
    submitted: Sequence[Submission], accounts: Sequence[Accounted], nodes: Nodes
) -> dict[str, Any]:
    """A run in numbers.

    Args:
        submitted: Attempts of its jobs.
        accounts: What Slurm says about them; empty where it says nothing.
        nodes: Classes of nodes.

    Returns:
        ``jobs``; ``attempts`` of them, requeued ones counted where Slurm tells; ``retries``, the
        attempts beyond the first; ``states``: attempts by how they ended; ``classes``: for each
        class of node its ``attempts``, ``node_hours`` and ``cost``; ``waiting``: ``sum``,
        ``median`` and ``longest`` in seconds; ``rules``: for each its ``jobs``, ``attempts``, and
        the largest walltime (seconds) and memory (MB) ``asked`` and ``used``. What is not known
        is null.
    """
    jobs = {each.job for each in submitted}
    attempts = max(len(submitted), len(accounts))
    by_number = {each.slurm: each for each in submitted}
    known = [(by_number[each.slurm], each) for each in accounts if each.slurm in by_number]
    waits = [each.waited for each in accounts if each.waited is not None]
    return {
        "jobs": len(jobs),
        "attempts": attempts,
        "retries": attempts - len(jobs),
        "states": dict(sorted(Counter(each.state for each in accounts).items())),
        "classes": _classes(submitted, known, nodes),
        "waiting": {
            "sum": sum(waits) if waits else None,
            "median": median(waits) if waits else None,
            "longest": max(waits, default=None),
        },
        "rules": _rules(submitted, known),
    }


def node_share(job: Accounted, node: NodeClass | None) -> float:
    """Nodes that a job kept from others: of each the largest share of cores, memory or GPUs.

    Args:
        job: The job.
        node: Its class of node; a job without one counts with its nodes in whole.
    """
    if node is None:
        return float(job.nodes)
    shares = [job.cores / node.cores, (job.asked_mb or 0) / node.memory_mb]
    shares += [job.gpus / node.gpus] if node.gpus else []
    return min(float(job.nodes), max(shares))


def _classes(
    submitted: Iterable[Submission],
    known: Iterable[tuple[Submission, Accounted]],
    nodes: Nodes,
) -> dict[str, dict[str, Any]]:
    """Attempts, node-hours and cost by class; by Slurm partition where the class is not known."""
    by_partition = {node.partition: name for name, node in reversed(nodes.classes.items())}
    attempts: Counter[str] = Counter()
    hours: dict[str, float] = defaultdict(float)
    for submission, job in known:
        name = submission.node_class or by_partition.get(job.partition, job.partition)
        attempts[name] += 1
        hours[name] += node_share(job, nodes.classes.get(name)) * (job.ran or 0.0) / _HOUR
    if not attempts:
        attempts.update(each.node_class or "unknown" for each in submitted)
    return {
        name: {
            "attempts": attempts[name],
            "node_hours": hours.get(name),
            "cost": hours[name] * nodes.classes[name].cost
            if name in hours and name in nodes.classes
            else None,
        }
        for name in sorted(attempts)
    }


def _rules(
    submitted: Iterable[Submission], known: Iterable[tuple[Submission, Accounted]]
) -> dict[str, dict[str, Any]]:
    """By rule, in the order of submission: jobs, attempts, largest amounts asked and used."""
    found: dict[str, dict[str, Any]] = {}
    jobs: dict[str, set[str]] = defaultdict(set)
    accounts: dict[str, list[Accounted]] = defaultdict(list)
    numbers: Counter[str] = Counter()
    for submission in submitted:
        jobs[submission.rule].add(submission.job)
        numbers[submission.rule] += 1
    for submission, job in known:
        accounts[submission.rule].append(job)
    for rule, own in jobs.items():
        mine = accounts[rule]
        found[rule] = {
            "jobs": len(own),
            "attempts": max(numbers[rule], len(mine)),
            "seconds": _most(mine, "asked_seconds", "ran"),
            "memory_mb": _most(mine, "asked_mb", "used_mb"),
        }
    return found


def _most(accounts: Sequence[Accounted], asked: str, used: str) -> Mapping[str, float | None]:
    """The largest amounts asked and used, of those that are known."""

    def most(name: str) -> float | None:
        values = [getattr(each, name) for each in accounts]
        return max((value for value in values if value is not None), default=None)

    return {"asked": most(asked), "used": most(used)}
