"""Jobs of one run, read from Snakemake's log."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_INTERRUPTED = "Terminating processes on user request"
_BLOCK = re.compile(
    r"^Error in rule (?P<rule>\w+):\n(?P<fields>(?:    .*\n)*)"
    r"|^Trying to restart job (?P<restarted>\d+)\.$",
    re.MULTILINE,
)
_SHOWN = re.compile(r"^Logfile .*:\n(=+)\n(?:.*\n)*?\1$", re.MULTILINE)
"""Logs of failed jobs, shown within; on Slurm they are those of a Snakemake of their own."""

_FIELD = re.compile(r"^    (\w+): (.*)$", re.MULTILINE)
_STATE = re.compile(r"SLURM status is: '(\w+)'")
_SUBMITTED = re.compile(
    r"^Job (?P<job>\d+) has been submitted with SLURM jobid (?P<slurm>\d+)"
    r" \(log: .*?/rule_(?P<rule>\w+)/",
    re.MULTILINE,
)
_ANNOUNCED = re.compile(r"^(?:rule|checkpoint) \w+:\n(?P<fields>(?:    .*\n)*)", re.MULTILINE)
_NODE_CLASS = re.compile(r"\bnode_class=([^,]+)")
_EFFICIENCY = re.compile(r"^Efficiency report for workflow \S+ saved to (.*)\.$", re.MULTILINE)


@dataclass(frozen=True)
class FailedJob:
    """A job that failed at its last attempt.

    Attributes:
        rule: Name of its rule.
        outputs: Files that it should have made.
        log: Its log; None where it has none.
        state: How Slurm ended it, such as ``OUT_OF_MEMORY``; None elsewhere.
    """

    rule: str
    outputs: tuple[Path, ...]
    log: Path | None
    state: str | None


def failed_jobs(text: str) -> list[FailedJob]:
    """Jobs that failed at all their attempts; none where a person stopped the run.

    A job that is stopped with the run looks like one that failed.

    Args:
        text: Snakemake's log.
    """
    text = _SHOWN.sub("", text)
    if any(line.startswith(_INTERRUPTED) for line in text.splitlines()):
        return []
    failed: dict[str, FailedJob] = {}
    for block in _BLOCK.finditer(text):
        if block["restarted"]:
            failed.pop(block["restarted"], None)
            continue
        fields = dict(_FIELD.findall(block["fields"]))
        state = _STATE.search(fields.get("message", ""))
        logs = _paths(fields.get("log", "").removesuffix(" (check log file(s) for error details)"))
        failed[fields["jobid"]] = FailedJob(
            rule=block["rule"],
            outputs=tuple(_paths(fields.get("output", ""))),
            log=logs[0] if logs else None,
            state=state[1] if state else None,
        )
    return list(failed.values())


@dataclass(frozen=True)
class Submission:
    """One attempt of a job on Slurm.

    Attributes:
        job: Snakemake's number of the job.
        slurm: Slurm's number of the attempt.
        rule: Name of its rule.
        node_class: Class of node that it asks for; None where the log does not say.
    """

    job: str
    slurm: str
    rule: str
    node_class: str | None


def submissions(text: str) -> list[Submission]:
    """Jobs that a run submitted to Slurm, in order.

    Args:
        text: Snakemake's log.
    """
    classes = {}
    for block in _ANNOUNCED.finditer(text):
        fields = dict(_FIELD.findall(block["fields"]))
        found = _NODE_CLASS.search(fields.get("resources", ""))
        if found and "jobid" in fields:
            classes[fields["jobid"]] = found[1]
    return [
        Submission(found["job"], found["slurm"], found["rule"], classes.get(found["job"]))
        for found in _SUBMITTED.finditer(text)
    ]


def efficiency_report(text: str) -> Path | None:
    """Where the Slurm plugin wrote its efficiency report; None where it wrote none.

    Args:
        text: Snakemake's log.
    """
    found = _EFFICIENCY.search(text)
    return Path(found[1]) if found else None


def read_logs(paths: Sequence[str]) -> str:
    """Text of the log files that Snakemake hands to ``onsuccess`` and ``onerror``."""
    return "".join(Path(path).read_text(errors="replace") for path in paths)


def _paths(text: str) -> list[Path]:
    return [Path(name) for name in text.split(", ") if name]
