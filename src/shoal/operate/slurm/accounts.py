"""Jobs in Slurm's accounting."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_FIELDS = (
    *("JobIDRaw", "Partition", "State", "Submit", "Start", "End"),
    *("NNodes", "NCPUS", "ReqMem", "TimelimitRaw", "MaxRSS", "AllocTRES"),
)
_MOST = 5000
"""Jobs in one question, or its command line would be too long."""

_SECONDS = 10
_GPUS = re.compile(r"gres/gpu=(\d+)")


@dataclass(frozen=True)
class Accounted:
    """One attempt of a job, as Slurm accounts for it; times in seconds, memory in MB.

    Attributes:
        slurm: Its number.
        partition: The Slurm partition.
        state: How it ended, such as ``COMPLETED`` or ``OUT_OF_MEMORY``.
        waited: From its submission to its start; None if it never started.
        ran: From its start to its end; None if it has not ended or never started.
        nodes: How many it had.
        cores: Cores of all of them.
        gpus: GPUs of all of them.
        asked_seconds: Walltime that it asked for; None where there is no limit.
        asked_mb: Memory of all nodes that it asked for; None where not known.
        used_mb: Most resident memory of one of its steps; None where not measured.
    """

    slurm: str
    partition: str
    state: str
    waited: float | None
    ran: float | None
    nodes: int
    cores: int
    gpus: int
    asked_seconds: float | None
    asked_mb: float | None
    used_mb: float | None


def ask_accounts(ids: Sequence[str]) -> tuple[list[Accounted], str | None]:
    """Ask ``sacct`` about jobs; each requeued attempt counts by itself.

    Args:
        ids: Slurm's numbers.

    Returns:
        The accounts, and why there are none where it does not answer.
    """
    found = []
    for start in range(0, len(ids), _MOST):
        command = [
            "sacct",
            "-n",
            "-P",
            "--duplicates",
            "--units=M",
            f"--format={','.join(_FIELDS)}",
        ]
        command += ["-j", ",".join(ids[start : start + _MOST])]
        try:
            answer = subprocess.run(  # noqa: S603 - our own command
                command, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return [], f"sacct did not answer within {_SECONDS} s"
        except OSError as error:
            return [], f"sacct does not run: {error.strerror}"
        if answer.returncode:
            return [], f"sacct: {' '.join(answer.stderr.split())}"
        found += parse_accounts(answer.stdout.splitlines())
    return found, None if found else "sacct knows none of the jobs; accounting may be off"


def parse_accounts(lines: Iterable[str]) -> list[Accounted]:
    """Jobs from lines of ``sacct -n -P``; the memory that a job used is that of its steps."""
    found: list[Accounted] = []
    for line in lines:
        values = dict(zip(_FIELDS, line.split("|"), strict=True))
        number, _, step = values["JobIDRaw"].partition(".")
        if not step:
            found.append(_job(number, values))
        elif found and found[-1].slurm == number:
            used = max(
                filter(None, (found[-1].used_mb, _megabytes(values["MaxRSS"]))), default=None
            )
            found[-1] = replace(found[-1], used_mb=used)
    return found


def _job(number: str, values: dict[str, str]) -> Accounted:
    nodes, cores = int(values["NNodes"] or 1), int(values["NCPUS"] or 0)
    submitted, start, end = (_time(values[name]) for name in ("Submit", "Start", "End"))
    memory = _megabytes(values["ReqMem"])
    # Before 21.08 Slurm says "4000Mc" for each core and "4000Mn" for each node.
    each = {"c": cores, "n": nodes}.get(values["ReqMem"][-1:], 1)
    limit = values["TimelimitRaw"]
    gpus = _GPUS.search(values["AllocTRES"])
    return Accounted(
        slurm=number,
        partition=values["Partition"],
        state=values["State"].split()[0] if values["State"] else "UNKNOWN",
        waited=_between(submitted, start),
        ran=_between(start, end),
        nodes=nodes,
        cores=cores,
        gpus=int(gpus[1]) if gpus else 0,
        asked_seconds=60.0 * int(limit) if limit.isdigit() else None,
        asked_mb=None if memory is None else memory * each,
        used_mb=None,
    )


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # "Unknown" or "None": not yet
        return None


def _between(first: datetime | None, second: datetime | None) -> float | None:
    return None if first is None or second is None else (second - first).total_seconds()


def _megabytes(text: str) -> float | None:
    found = re.match(r"([\d.]+)M?", text)
    return float(found[1]) if found else None
