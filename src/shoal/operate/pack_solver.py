"""Members onto devices such that the last device is done early, and each device's into packs."""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from shoal.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_GAP = 0.02
_CHOICES = 300
"""Members times devices up to which the exact solver is asked; greedy is close beyond."""

ALONE = 1.4
"""Seconds of a member of a program that has too few members, as a multiple of its own."""

# A limit in nodes gives the same answer on a busy machine, which a limit in seconds does not.
_NODES = 200


@dataclass(frozen=True)
class Member:
    """One training.

    Attributes:
        name: What tells it from the others.
        seconds: Expected duration; or any weight, where there is no longest walltime.
        memory: Bytes of a device's memory that it needs.
        kind: Members of one kind may share a program; empty where it shares with none.
    """

    name: str
    seconds: float
    memory: float = 0.0
    kind: str = ""


@dataclass(frozen=True)
class Limits:
    """Limits of a pack.

    Attributes:
        devices: Devices, all of one kind.
        seconds: Longest walltime of one pack.
        memory: Bytes of memory of a device.
        fewest: Members of a kind on a device from which on they share a program.
    """

    devices: int
    seconds: float = math.inf
    memory: float = math.inf
    fewest: int = 1


@dataclass(frozen=True)
class Pack:
    """Members that one process trains.

    Attributes:
        device: Number of the device; its packs run one after the other.
        members: The members, by kind, longest first.
    """

    device: int
    members: tuple[Member, ...]

    @property
    def seconds(self) -> float:
        """Sum of the members' durations."""
        return math.fsum(member.seconds for member in self.members)


def pack(members: Iterable[Member], limits: Limits) -> list[Pack]:
    """Packs with which the last device is done as early as possible, or nearly.

    Members of one kind share a program where a device has enough of them, and take longer where
    it has not. Greedy, longest member first, and the same with whole programs. Where the better one
    is more than a fiftieth above what no answer can beat, and the problem is small, an integer
    programme is solved as well; the best one is taken. The walltime does not change when a device
    is done, only in how many packs it gets there: as few as keep the walltime, about equally long.

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
    answers = [longest_first(ordered, limits.devices), _programs_first(ordered, limits)]
    loads = min(answers, key=lambda answer: makespan(answer, limits.fewest))
    bound = lower_bound(ordered, limits.devices)
    small = len(ordered) * limits.devices <= _CHOICES
    if small and makespan(loads, limits.fewest) > bound * (1 + _GAP):
        solved = _solve(ordered, limits, bound)
        if solved is not None and makespan(solved, limits.fewest) < makespan(loads, limits.fewest):
            loads = solved
    return [
        Pack(device, tuple(sorted(part, key=lambda member: (member.kind, _turn(member)))))
        for device, load in enumerate(loads)
        for part in _split(load, limits)
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


def makespan(loads: Iterable[Sequence[Member]], fewest: int = 1) -> float:
    """Seconds until the last device is done.

    Args:
        loads: Members of each device.
        fewest: Members of a kind on a device from which on they share a program.
    """
    return max((_seconds(load, fewest) for load in loads), default=0.0)


def _seconds(load: Sequence[Member], fewest: int) -> float:
    found = []
    for own in _by_kind(load).values():
        seconds = math.fsum(member.seconds for member in own)
        found.append(seconds if _share(own, fewest) else ALONE * seconds)
    return math.fsum(found)


def _share(members: Sequence[Member], fewest: int) -> bool:
    """Whether members of one kind need no more than their seconds on one device."""
    return not members[0].kind or len(members) >= fewest


def _by_kind(members: Iterable[Member]) -> dict[str, list[Member]]:
    found: dict[str, list[Member]] = defaultdict(list)
    for member in members:
        found[member.kind].append(member)
    return found


def _programs_first(members: Sequence[Member], limits: Limits) -> list[list[Member]]:
    """Each kind in as many programs as there can be, and these to devices, the longest first."""
    programs: dict[str, list[Member]] = {}
    for kind, own in _by_kind(members).items():
        count = min(limits.devices, len(own) // limits.fewest) if kind else len(own)
        for place in range(max(1, count)):
            programs[f"{kind} {place}"] = own[place :: max(1, count)]
    whole = [Member(name, _seconds(own, limits.fewest)) for name, own in programs.items()]
    return [
        [member for program in load for member in programs[program.name]]
        for load in longest_first(whole, limits.devices)
    ]


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


def _split(load: Sequence[Member], limits: Limits) -> list[list[Member]]:
    """A device's members in as few parts as greedy finds that keep the walltime."""
    if not load:
        return []
    least = max(1, math.ceil(math.fsum(member.seconds for member in load) / limits.seconds))
    tries = (
        parts
        for count in range(least, len(load) + 1)
        for parts in (
            _programs_first(load, replace(limits, devices=count)),
            longest_first(load, count),
        )
    )
    found = next(parts for parts in tries if makespan(parts) <= limits.seconds)
    return [part for part in found if part]


def _solve(members: Sequence[Member], limits: Limits, bound: float) -> list[list[Member]] | None:
    """The integer programme's answer; None where the solver found none within its limit."""
    import pulp

    devices = limits.devices
    problem = pulp.LpProblem("pack", pulp.LpMinimize)
    last = problem.add_variable("last", 1.0)  # in units of the bound, which it cannot be below
    problem += last
    loads: list[dict[str, list[tuple[Any, float]]]] = [defaultdict(list) for _ in range(devices)]
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
            loads[device][member.kind].append((variable, member.seconds / bound))
        goes.append(own)
    for device, load in enumerate(loads):
        parts = []
        for number, (kind, own) in enumerate(load.items()):
            seconds = pulp.lpSum(variable * each for variable, each in own)
            parts.append(seconds)
            if not kind or limits.fewest == 1:
                continue
            # More than its seconds, unless so many share a program.
            more = problem.add_variable(f"more_{device}_{number}", 0)
            share = problem.add_variable(f"share_{device}_{number}", 0, 1, pulp.LpInteger)
            problem += limits.fewest * share <= pulp.lpSum(variable for variable, _ in own)
            most = (ALONE - 1) * math.fsum(each for _, each in own)
            problem += more >= (ALONE - 1) * seconds - most * share
            parts.append(more)
        problem += pulp.lpSum(parts) <= last
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
