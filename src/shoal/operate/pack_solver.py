"""Members onto devices such that the last device is done early, and each device's into packs."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shoal.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_GAP = 0.02
_CHOICES = 300
"""Members times devices up to which the exact solver is asked; greedy is close beyond."""

# A limit in nodes gives the same answer on a busy machine, which a limit in seconds does not.
_NODES = 200


@dataclass(frozen=True)
class Member:
    """One training.

    Attributes:
        name: What tells it from the others.
        seconds: Expected duration; or any weight, where there is no longest walltime.
        memory: Bytes of a device's memory that it needs.
    """

    name: str
    seconds: float
    memory: float = 0.0


@dataclass(frozen=True)
class Limits:
    """Limits of a pack.

    Attributes:
        devices: Devices, all of one kind.
        seconds: Longest walltime of one pack.
        memory: Bytes of memory of a device.
    """

    devices: int
    seconds: float = math.inf
    memory: float = math.inf


@dataclass(frozen=True)
class Pack:
    """Members that one process trains, one after the other.

    Attributes:
        device: Number of the device; its packs run one after the other.
        members: The members, longest first.
    """

    device: int
    members: tuple[Member, ...]

    @property
    def seconds(self) -> float:
        """Sum of the members' durations."""
        return math.fsum(member.seconds for member in self.members)


def pack(members: Iterable[Member], limits: Limits) -> list[Pack]:
    """Packs with which the last device is done as early as possible, or nearly.

    Greedy, longest member first. Where that is more than a fiftieth above what no answer can
    beat, and the problem is small, an integer programme is solved as well; the better one is
    taken. The walltime does not change when a device is done, only in how many packs it gets
    there: as few as keep the walltime, about equally long. As members of a pack train in turn,
    none needs more memory than its largest member.

    Args:
        members: What to pack, in any order; names differ.
        limits: Devices, and what a pack and a member may take.

    Returns:
        Packs in order of device; the same for the same members. A member that alone is longer than
        a pack may be is in none.

    Raises:
        SettingsError: A member alone is larger than the memory.

    Source:
        Graham 1969, longest processing time first.
    """
    ordered = sorted((each for each in members if each.seconds <= limits.seconds), key=_turn)
    for member in ordered:
        _check(member, limits)
    loads = longest_first(ordered, limits.devices)
    bound = lower_bound(ordered, limits.devices)
    small = len(ordered) * limits.devices <= _CHOICES
    if small and makespan(loads) > bound * (1 + _GAP):
        solved = _solve(ordered, limits.devices, bound)
        if solved is not None and makespan(solved) < makespan(loads):
            loads = solved
    return [
        Pack(device, tuple(part))
        for device, load in enumerate(loads)
        for part in _split(load, limits.seconds)
    ]


def longest_first(members: Iterable[Member], devices: int) -> list[list[Member]]:
    """Members of each device: the longest that is left goes to the device that is done first."""
    loads: list[list[Member]] = [[] for _ in range(devices)]
    done = [(0.0, device) for device in range(devices)]
    for member in sorted(members, key=_turn):
        seconds, device = done[0]
        loads[device].append(member)
        heapq.heapreplace(done, (seconds + member.seconds, device))
    return loads


def makespan(loads: Iterable[Sequence[Member]]) -> float:
    """Seconds until the last device is done."""
    return max((math.fsum(member.seconds for member in load) for load in loads), default=0.0)


def lower_bound(members: Iterable[Member], devices: int) -> float:
    """Lower bound on the makespan: the mean load, the longest member, and two that must share."""
    seconds = sorted((member.seconds for member in members), reverse=True)
    if not seconds:
        return 0.0
    shared = sum(seconds[devices - 1 : devices + 1]) if len(seconds) > devices else 0.0
    return max(math.fsum(seconds) / devices, seconds[0], shared)


def _check(member: Member, limits: Limits) -> None:
    if member.memory > limits.memory:
        raise SettingsError(
            f"{member.name}: needs about {member.memory / 2**30:.2g} GiB of a device's memory, "
            f"which has {limits.memory / 2**30:.2g} GiB; lower its batch_size or use larger devices"
        )


def _turn(member: Member) -> tuple[float, str]:
    return -member.seconds, member.name


def _split(load: Sequence[Member], seconds: float) -> list[list[Member]]:
    """A device's members in as few parts as greedy finds that keep the walltime."""
    if not load:
        return []
    fewest = max(1, math.ceil(math.fsum(member.seconds for member in load) / seconds))
    tries = (longest_first(load, count) for count in range(fewest, len(load) + 1))
    return next(parts for parts in tries if makespan(parts) <= seconds)


def _solve(members: Sequence[Member], devices: int, bound: float) -> list[list[Member]] | None:
    """The integer programme's answer; None where the solver found none within its limit."""
    import pulp

    problem = pulp.LpProblem("pack", pulp.LpMinimize)
    last = problem.add_variable("last", 1.0)  # in units of the bound, which it cannot be below
    problem += last
    loads: list[list[Any]] = [[] for _ in range(devices)]
    goes: list[list[Any]] = []
    for number, member in enumerate(members):
        # Devices are alike: without loss the first member goes to the first of them, and so on.
        choices = range(min(number + 1, devices))
        own = [
            problem.add_variable(f"goes_{number}_{device}", 0, 1, pulp.LpInteger)
            for device in choices
        ]
        problem += pulp.lpSum(own) == 1
        for device, variable in zip(choices, own, strict=True):
            loads[device].append(variable * (member.seconds / bound))
        goes.append(own)
    for load in loads:
        problem += pulp.lpSum(load) <= last
    problem.solve(_solver())
    found: list[list[Member]] = [[] for _ in range(devices)]
    for member, own in zip(members, goes, strict=True):
        chosen = [place for place, variable in enumerate(own) if (variable.value() or 0) > 0.5]
        if len(chosen) != 1:
            return None
        found[chosen[0]].append(member)
    return found


def _solver() -> Any:  # noqa: ANN401 - PuLP has no types
    """The CBC that comes with PuLP, on one thread."""
    import pulp

    return pulp.COIN_CMD(
        path=pulp.PULP_CBC_CMD.pulp_cbc_path, msg=False, gapRel=_GAP, maxNodes=_NODES
    )
