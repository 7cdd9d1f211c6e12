"""Which stale specialists train together, and what that gains."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shoal.formats.hashing import settings_id
from shoal.formats.json_file import write_json
from shoal.operate.estimate import Estimate
from shoal.operate.pack_solver import Limits, Member, longest_first, makespan, pack
from shoal.operate.resources import Resources
from shoal.operate.why import point_text
from shoal.plan.jobs import Job

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from shoal.plan.plan import Plan

TRAINS = "train_specialist"
"""The rule whose jobs are packed."""


@dataclass(frozen=True)
class PlannedPack:
    """A pack of the plan.

    Attributes:
        name: Its identity, a hash over its members.
        device: Number of the device that it is meant for; packs of one run one after the other.
        members: Jobs that it does the work of.
        job: The job that does it.
        seconds: Expected duration of the members together; None where not known.
    """

    name: str
    device: int
    members: tuple[Job, ...]
    job: Job
    seconds: float | None


def planned_packs(plan: Plan, estimate: Estimate, jobs: Iterable[Job]) -> list[PlannedPack]:
    """Packs of the specialists among some jobs; none where packing is off.

    Expected durations come from past ledgers. Without any, rows take their place, and no pack is
    kept below the longest walltime.

    Args:
        plan: The experiment.
        estimate: What its jobs would cost.
        jobs: The jobs that would run.

    Raises:
        SettingsError: A specialist would train for longer than a pack may, or not fit a GPU.
    """
    settings = plan.settings.packing
    named = {_name(job, plan): job for job in jobs if job.rule == TRAINS}
    if settings.devices is None or not named:
        return []
    known = {name: estimate.training_seconds(job) for name, job in named.items()}
    timed = None not in known.values()
    memory = Resources(plan).specialist_gpu_mb or 0
    members = [
        Member(name, float(estimate.rows(job) if seconds is None else seconds), memory * 1e6)
        for (name, job), seconds in zip(named.items(), known.values(), strict=True)
    ]
    nodes = plan.settings.nodes
    node = nodes.classes[nodes.needs["gpu"]]
    most = 60 * node.minutes if settings.hours is None else 3600 * settings.hours
    longest = most - (estimate.start_seconds or 0) if timed else math.inf
    largest = node.gpu_memory_mb * 1e6 if node.gpus else math.inf
    packs = pack(members, Limits(settings.devices, longest, largest))
    return [
        _planned(plan, each.device, [named[m.name] for m in each.members], each.seconds, timed)
        for each in packs
    ]


def begin_packs(plan: Plan, index: Mapping[str, Any], *, write: bool) -> dict[Path, Path]:
    """Plan the packs of a run: each file that a pack makes, to the status that stands for it.

    Args:
        plan: The experiment.
        index: Its partition index, or placeholders for it.
        write: Whether to write the members of each pack for the process that trains them.

    Raises:
        SettingsError: A specialist would train for longer than a pack may.
    """
    jobs = [job for job in plan.layout.later_jobs(index) if job.missing]
    packs = planned_packs(plan, Estimate(plan, index, jobs), jobs)
    for each in packs if write else ():
        write_json(plan.layout.pack_members(each.name), [job.about for job in each.members])
    status = ((each.job.outputs[0], job.outputs) for each in packs for job in each.members)
    return {path: stands_for for stands_for, paths in status for path in paths}


def packs_json(
    plan: Plan, packs: Sequence[PlannedPack], estimate: Estimate
) -> dict[str, Any] | None:
    """The packs for programs; None where packing is off.

    Args:
        plan: The experiment.
        packs: What :func:`planned_packs` gave.
        estimate: What its jobs would cost.

    Returns:
        ``devices``; ``seconds`` until the last of them is done, ``packed`` and ``alone`` with a job
        for each specialist, null where not known; ``packs``, each with its ``pack``, ``device``,
        ``seconds`` and ``members``: ``partition``, grid ``point`` and ``about``.
    """
    devices = plan.settings.packing.devices
    if devices is None:
        return None
    return {
        "devices": devices,
        "seconds": _until_done(packs, devices, estimate),
        "packs": [
            {
                "pack": each.name,
                "device": each.device,
                "seconds": each.seconds,
                "members": [
                    {
                        "partition": job.partition,
                        "point": plan.grid[job.about.split("/")[1]],
                        "about": job.about,
                    }
                    for job in each.members
                ],
            }
            for each in packs
        ],
    }


def _until_done(
    packs: Sequence[PlannedPack], devices: int, estimate: Estimate
) -> dict[str, float | None]:
    """Seconds until the last device is done, the start of each process included."""
    start = estimate.start_seconds
    jobs = [job for each in packs for job in each.members]
    alone = [estimate.training_seconds(job) for job in jobs]
    if start is None or None in alone:
        return {"packed": None, "alone": None}
    loads = [0.0] * devices
    for each in packs:
        loads[each.device] += start + (each.seconds or 0.0)
    members = [Member(str(n), start + (seconds or 0.0)) for n, seconds in enumerate(alone)]
    return {"packed": max(loads), "alone": makespan(longest_first(members, devices))}


def _planned(
    plan: Plan, device: int, members: list[Job], seconds: float, timed: bool
) -> PlannedPack:
    """A pack whose status is yet to be written.

    Where specialists were removed by hand, the status of a pack of the same is still there.
    """
    abouts = sorted(job.about for job in members)
    names = (
        settings_id(plan.layout.made["specialists"], abouts, again) for again in itertools.count()
    )
    name = next(name for name in names if not plan.layout.pack_status(name).exists())
    job = Job("train_pack", {"pack": name}, (plan.layout.pack_status(name),))
    return PlannedPack(name, device, tuple(members), job, seconds if timed else None)


def _name(job: Job, plan: Plan) -> str:
    """A specialist as people know it."""
    return f"partition {job.partition} at {point_text(plan.grid[job.about.split('/')[1]])}"
