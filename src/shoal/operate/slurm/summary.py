"""Summary of a run on Slurm: jobs, node-hours, waiting, failures, asked against used."""

from __future__ import annotations

import os
import sys
from collections import Counter, defaultdict
from statistics import median
from typing import TYPE_CHECKING

from typing_extensions import TypedDict

from shoal.formats.files import replacing
from shoal.formats.json_file import write_json
from shoal.formats.text import NONE, count_text, number_text, seconds_text
from shoal.operate.slurm.accounts import ask_accounts
from shoal.plan.run_log import efficiency_report, submissions
from shoal.report.page import render

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from shoal.operate.slurm.accounts import Accounted
    from shoal.plan.run_log import Submission
    from shoal.settings.nodes import NodeClass, Nodes

PAGE = "cluster.html"
SUMMARY = "cluster.json"
_HOUR = 3600
_CLASS_HEADS = ("class of node", "attempts", "node-hours", "cost")


class Waiting(TypedDict):
    """Seconds from submission to start, over all attempts; None where not known."""

    sum: float | None
    median: float | None
    longest: float | None


class ClassUse(TypedDict):
    """Use of a class of node; None where not known."""

    attempts: int
    node_hours: float | None
    cost: float | None


class Amounts(TypedDict):
    """The largest amounts of a rule's jobs; None where not known."""

    asked: float | None
    used: float | None


class RuleUse(TypedDict):
    """Jobs of a rule, with walltime in seconds and memory in MB."""

    jobs: int
    attempts: int
    seconds: Amounts
    memory_mb: Amounts


class RunSummary(TypedDict):
    """``cluster.json``.

    Attributes:
        jobs: Jobs that were submitted.
        attempts: Attempts of them, requeued ones counted where Slurm tells.
        retries: Attempts beyond the first.
        states: Attempts by how they ended.
        classes: Use of each class of node.
        waiting: How long attempts have waited.
        rules: Use by rule, in the order of submission.
        accounting: ``complete``, or why Slurm's accounting tells nothing.
        efficiency_report: Report of Snakemake's plugin, seen from the results folder, if any.
    """

    jobs: int
    attempts: int
    retries: int
    states: dict[str, int]
    classes: dict[str, ClassUse]
    waiting: Waiting
    rules: dict[str, RuleUse]
    accounting: str
    efficiency_report: str | None


def summarise_run(root: Path, name: str, nodes: Nodes, text: str) -> None:
    """Print the summary of a run, and write ``cluster.json`` and ``cluster.html``.

    Args:
        root: The experiment's results folder.
        name: The experiment.
        nodes: Classes of nodes.
        text: Snakemake's log of the run; nothing is done where it submitted nothing.
    """
    from rich.console import Console

    submitted = submissions(text)
    if not submitted:
        return
    accounts, problem = ask_accounts([each.slurm for each in submitted])
    summary = cluster_summary(submitted, accounts, nodes)
    summary["accounting"] = problem or "complete"
    report = efficiency_report(text)
    summary["efficiency_report"] = os.path.relpath(report, root) if report else None
    write_json(root / SUMMARY, summary)
    with replacing(root / PAGE) as aside:
        aside.write_text(cluster_page(name, summary))
    Console(file=sys.stderr).print(cluster_table(summary, root / PAGE))


def cluster_summary(
    submitted: Sequence[Submission], accounts: Sequence[Accounted], nodes: Nodes
) -> RunSummary:
    """Sum up a run.

    Args:
        submitted: Attempts of its jobs.
        accounts: Slurm's account of them; empty where there is none.
        nodes: Classes of nodes.
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
        "accounting": "complete",
        "efficiency_report": None,
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
) -> dict[str, ClassUse]:
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
) -> dict[str, RuleUse]:
    found: dict[str, RuleUse] = {}
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


def _most(accounts: Sequence[Accounted], asked: str, used: str) -> Amounts:
    """The largest amounts asked and used, of those that are known."""

    def most(name: str) -> float | None:
        values = [getattr(each, name) for each in accounts]
        return max((value for value in values if value is not None), default=None)

    return {"asked": most(asked), "used": most(used)}


def cluster_page(experiment: str, summary: RunSummary) -> str:
    """Make one self-contained HTML page of a summary."""
    return render(
        "operate/slurm/cluster.html.jinja",
        f"{experiment} on the cluster",
        experiment=experiment,
        headline=_headline(summary),
        facts=_facts(summary),
        problem=_problem(summary),
        class_heads=_CLASS_HEADS,
        classes=_class_rows(summary),
        rules=[
            (
                rule,
                count_text(each["jobs"]),
                count_text(each["attempts"]),
                seconds_text(each["seconds"]["asked"]),
                seconds_text(each["seconds"]["used"]),
                _memory(each["memory_mb"]["asked"]),
                _memory(each["memory_mb"]["used"]),
            )
            for rule, each in summary["rules"].items()
        ],
        efficiency=summary["efficiency_report"],
    )


def cluster_table(summary: RunSummary, page: Path) -> RenderableType:
    """Show a summary in the terminal, without the rules.

    Args:
        summary: The summary.
        page: The page that has the rules.
    """
    from rich.box import SIMPLE
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for head in _CLASS_HEADS:
        table.add_column(head, justify="left" if head == _CLASS_HEADS[0] else "right")
    for row in _class_rows(summary):
        table.add_row(*row)
    facts = [f"{name}: {value}" for name, value in _facts(summary)]
    problem = [_problem(summary)] if _problem(summary) else []
    lines = [_headline(summary), *problem, *facts, f"asked against used, by rule: {page}"]
    texts = [Text(line, overflow="fold") for line in lines]
    return Group(texts[0], table, *texts[1:])


def _headline(summary: RunSummary) -> str:
    jobs, attempts = summary["jobs"], summary["attempts"]
    words = "job" if jobs == 1 else "jobs", "attempt" if attempts == 1 else "attempts"
    return f"{count_text(jobs)} {words[0]} on the cluster, {count_text(attempts)} {words[1]}"


def _facts(summary: RunSummary) -> list[tuple[str, str]]:
    waiting, states = summary["waiting"], summary["states"]
    failures = [f"{count} {name}" for name, count in states.items() if name != "COMPLETED"]
    total, middle, longest = (
        seconds_text(seconds) for seconds in (waiting["sum"], waiting["median"], waiting["longest"])
    )
    return [
        ("retries", count_text(summary["retries"])),
        ("failures", ", ".join(failures) or ("none" if states else NONE)),
        ("waiting", f"{total} all together, median {middle}, longest {longest}"),
    ]


def _problem(summary: RunSummary) -> str:
    answer = summary["accounting"]
    return "" if answer == "complete" else f"Slurm's accounting tells nothing more ({answer})"


def _class_rows(summary: RunSummary) -> list[tuple[str, str, str, str]]:
    return [
        (
            name,
            count_text(each["attempts"]),
            number_text(each["node_hours"], 3),
            number_text(each["cost"], 3),
        )
        for name, each in summary["classes"].items()
    ]


def _memory(megabytes: float | None) -> str:
    return NONE if megabytes is None else f"{megabytes:,.0f} MB"
