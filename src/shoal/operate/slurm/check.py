"""Compare the settings of nodes with the cluster, before the first job is submitted."""

from __future__ import annotations

import getpass
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shoal.errors import SettingsError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shoal.settings.nodes import NodeClass, Nodes

_PATIENCE = 30
"""Seconds that Slurm gets to answer."""

_COLUMNS = "%R|%G|%l|%c|%m"
_GPU = re.compile(r"\bgpu:(?:([^:(,]+):)?(\d+)")


@dataclass
class Partition:
    """The most that a Slurm partition offers.

    Attributes:
        minutes: Longest walltime; None without a limit.
        cores: Cores of its largest node.
        memory_mb: Memory of its largest node.
        gpus: GPUs of a node by type; the type is empty where Slurm names none.
    """

    minutes: float | None
    cores: int
    memory_mb: int
    gpus: dict[str, int]


def check_cluster(nodes: Nodes) -> None:
    """Compare the settings' classes of nodes and account with what Slurm says.

    Nothing is said where Slurm does not answer: its own error follows at submission.

    Raises:
        SettingsError: A partition, GPU type or account does not exist, or a class claims more
            than its partition has.
    """
    answer = _ask("sinfo", "-h", "-o", _COLUMNS)
    if answer is not None:
        partitions = read_partitions(answer)
        for name in dict.fromkeys(nodes.needs.values()):
            check_class(name, nodes.classes[name], partitions)
    if nodes.account is not None:
        user = getpass.getuser()
        answer = _ask("sacctmgr", "-n", "-P", "show", "assoc", f"user={user}", "format=account")
        check_account(nodes.account, user, set((answer or "").split()))


def read_partitions(text: str) -> dict[str, Partition]:
    """Partitions by name, from what ``sinfo`` prints of their kinds of nodes."""
    found: dict[str, Partition] = {}
    for line in text.splitlines():
        name, gres, limit, cores, memory = line.split("|")
        part = found.setdefault(name, Partition(_minutes(limit), 0, 0, {}))
        part.cores = max(part.cores, int(cores.rstrip("+")))
        part.memory_mb = max(part.memory_mb, int(memory.rstrip("+")))
        for model, count in _GPU.findall(gres):
            part.gpus[model] = max(part.gpus.get(model, 0), int(count))
    return found


def _minutes(limit: str) -> float | None:
    """Slurm's ``[days-][[hours:]minutes:]seconds``; None where there is no limit."""
    if not limit[0].isdigit():
        return None
    days, _, clock = limit.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    hours, minutes, seconds = [0] * (3 - len(parts)) + parts
    return int(days or 0) * 1440 + hours * 60 + minutes + seconds / 60


def check_class(name: str, node: NodeClass, partitions: Mapping[str, Partition]) -> None:
    """Compare one class of nodes with its partition.

    Raises:
        SettingsError: They do not fit; the message says what to change.
    """
    place = f"nodes.classes.{name}"
    part = partitions.get(node.partition)
    if part is None:
        raise SettingsError(
            f"{place}.partition: this cluster has no partition {node.partition!r}; "
            f"{nearest(node.partition, list(partitions))}"
        )
    if node.gpus:
        _check_gpus(place, node, part)
    limits = (
        ("minutes", node.minutes, part.minutes),
        ("cores", node.cores, part.cores),
        ("memory_mb", node.memory_mb, part.memory_mb),
    )
    for field, claimed, offered in limits:
        if offered is not None and claimed > offered:
            raise SettingsError(
                f"{place}.{field}: {claimed}, but partition {node.partition!r} offers "
                f"{offered:g} at most; lower it, or jobs that ask for more would wait for ever"
            )


def _check_gpus(place: str, node: NodeClass, part: Partition) -> None:
    known = _named(part.gpus)
    if not part.gpus:
        raise SettingsError(
            f"{place}.gpus: {node.gpus}, but partition {node.partition!r} has no GPUs; "
            f"set it to 0, or name another partition"
        )
    if node.gpu_model is not None and node.gpu_model not in part.gpus:
        raise SettingsError(
            f"{place}.gpu_model: nodes of partition {node.partition!r} have no GPU of type "
            f"{node.gpu_model!r}; they have {known}"
        )
    if node.gpus > sum(part.gpus.values()):
        raise SettingsError(
            f"{place}.gpus: {node.gpus}, but a node of partition {node.partition!r} has {known}"
        )


def _named(gpus: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {model or 'of no named type'}" for model, count in gpus.items())


def check_account(account: str, user: str, known: Iterable[str]) -> None:
    """Compare the account with those that Slurm's accounting has for the user.

    Raises:
        SettingsError: It is none of them. Without accounting nothing is known, and said.
    """
    names = sorted(known)
    if names and account.lower() not in names:
        raise SettingsError(
            f"nodes.account: {user} has no account {account!r} on this cluster; "
            f"{nearest(account, names)}"
        )


def _ask(*command: str) -> str | None:
    """Output of a Slurm command; None if it is not there, fails or does not answer."""
    try:
        result = subprocess.run(  # noqa: S603 - Slurm's own commands
            command, capture_output=True, text=True, check=True, timeout=_PATIENCE
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout
