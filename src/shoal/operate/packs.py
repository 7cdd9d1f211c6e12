"""Which jobs share a process: stale specialists, decisions, answers; and what that gains."""

from __future__ import annotations

import itertools
import math
import os
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shoal.formats.hashing import settings_id
from shoal.formats.json_file import write_json
from shoal.formats.links import point_of
from shoal.operate.estimate import Estimate
from shoal.operate.pack_solver import Limits, Member, longest_first, makespan, pack
from shoal.operate.resources import Resources
from shoal.operate.why import point_text
from shoal.plan.jobs import Job
from shoal.plan.paths import parse
from shoal.plan.stages import PACKS
from shoal.search.slot_names import number_of, validation_of
from shoal.training.lane_limits import FEWEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from shoal.formats.documents.index import PlannedIndex
    from shoal.formats.documents.plan import PackMember
    from shoal.operate.pack_solver import Pack
    from shoal.operate.plan_document import DoneAfter, Packing
    from shoal.plan.plan import Plan
    from shoal.plan.stages import Stage
    from shoal.settings import Settings

TRAINS = "train_specialist"
"""The rule whose jobs train in packs; those of others are done one after the other."""

_IN_TURN = [stage for stage in PACKS if stage.in_turn]


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
    """Packs of some jobs, step by step; none where packing is off.

    A pack holds trainings of one step of a search: what a later step trains is decided when those
    of the step before are done. Expected durations come from past ledgers. Without any, rows take
    their place, all alike where these are unknown too, and no pack is kept below the longest time.
    A specialist that would be alone in its pack, or is expected to take longer than a pack may, has
    a job of its own. So it is with decisions and with answers, which count alike.

    Args:
        plan: The experiment.
        estimate: What its jobs would cost.
        jobs: The jobs that would run.

    Raises:
        SettingsError: A specialist would not fit a GPU.
    """
    devices, found = devices_of(plan.settings), list(jobs)
    if devices is None:
        return []
    trained = [job for job in found if job.rule == TRAINS]
    packs = _trainings(plan, estimate, trained, devices) if len(trained) > 1 else []
    for stage in _IN_TURN:
        packs += _done_in_turn(plan, estimate, stage, found, devices)
    return packs


def _trainings(
    plan: Plan, estimate: Estimate, trained: Sequence[Job], devices: int
) -> list[PlannedPack]:
    timed = all(estimate.training_seconds(job) is not None for job in trained)
    memory = (Resources(plan).specialist_gpu_mb or 0) * 1e6
    nodes = plan.settings.nodes
    node = nodes.classes[nodes.needs["gpu"]]
    most = min(60 * node.minutes, 3600 * plan.settings.packing.hours)
    longest = most - (estimate.start_seconds or 0) if timed else math.inf
    room = node.gpu_memory_mb * 1e6 if node.gpus else math.inf
    limits = Limits(devices, longest, room, FEWEST)
    packs: list[PlannedPack] = []
    for step in range(plan.steps.count):
        named = {_name(job, plan): job for job in trained if _step(job) == step}
        members = [
            Member(
                name,
                float(estimate.training_seconds(job) or estimate.rows(job) or 1),
                memory,
                _kind(job, plan, estimate),
            )
            for name, job in named.items()
        ]
        packs += _packed(plan, "train_pack", named, pack(members, limits), timed=timed)
    return packs


def _done_in_turn(
    plan: Plan, estimate: Estimate, stage: Stage, jobs: Iterable[Job], devices: int
) -> list[PlannedPack]:
    """Packs of the jobs that one of a stage does one after the other."""
    own = [job for job in jobs if job.rule == stage.in_turn]
    seconds, packs = estimate.work_seconds(stage.in_turn), []
    longest = math.inf if seconds is None else 3600 * plan.settings.packing.hours
    for step in sorted({_step(job) for job in own}):
        named = {str(job.outputs[0]): job for job in own if _step(job) == step}
        members = [Member(name, seconds or 1.0) for name in named]
        found = pack(members, Limits(devices, longest))
        packs += _packed(plan, stage.name, named, found, timed=seconds is not None)
    return packs


def _packed(
    plan: Plan, rule: str, named: Mapping[str, Job], packs: Iterable[Pack], *, timed: bool
) -> list[PlannedPack]:
    """The packs of a rule that have more than one member."""
    return [
        _planned(plan, rule, each, [named[member.name] for member in each.members], timed=timed)
        for each in packs
        if len(each.members) > 1
    ]


def _kind(job: Job, plan: Plan, estimate: Estimate) -> str:
    """Key that specialists have in common which may share a program."""
    point = plan.grid.get(job.wildcards["slot"], {})
    model = {name: value for name, value in point.items() if name == "loss" or "." in name}
    return settings_id(model, estimate.batch(job))


def devices_of(settings: Settings) -> int | None:
    """Devices that specialists are packed onto; None where each has a job of its own.

    As many as fit this machine where the settings leave it open: a dry run does not know with how
    many cores, or on which cluster, the run will be.
    """
    devices = settings.packing.devices
    return max(1, _cores() // settings.compute.threads) if devices == "auto" else devices


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def outputs_of(packs: Iterable[PlannedPack]) -> set[Path]:
    """Files that some packs make."""
    return {path for each in packs for job in each.members for path in job.outputs}


def begin_packs(plan: Plan, index: PlannedIndex, *, write: bool) -> list[PlannedPack]:
    """Plan the packs of a run.

    Args:
        plan: The experiment.
        index: Its partition index, or placeholders for it.
        write: Whether to write the members of each pack for the process that trains them.

    Raises:
        SettingsError: A specialist would not fit a GPU.
    """
    jobs = [job for job in plan.layout.later_jobs(index) if job.missing]
    packs = planned_packs(plan, Estimate(plan, index, jobs), jobs)
    for each in packs if write else ():
        content = (
            members_of(plan, each)
            if each.job.rule == "train_pack"
            else [job.wildcards for job in each.members]
        )
        write_json(plan.layout.pack_members(each.name, each.job.rule), content)
    return packs


def members_of(plan: Plan, pack: PlannedPack) -> list[PackMember]:
    """The members of a pack, as the process takes them that trains them."""
    return [_member(plan, job) for job in pack.members]


def _member(plan: Plan, job: Job) -> PackMember:
    digest, step, slot = (job.wildcards[name] for name in ("digest", "step", "slot"))
    decisions, states = plan.layout.search(digest, validation_of(slot)).before(int(step))
    place = parse(job.outputs[0])
    assert place is not None  # noqa: S101 - a specialist is a stage's output
    return {
        "folder": str(job.outputs[0].parent),
        "digest": digest,
        "step": int(step),
        "slot": slot,
        "point": plan.grid.get(slot),
        "decision": str(decisions[0]) if decisions else None,
        "states": {name: str(path) for name, path in states.items()},
        "log": str(plan.logs / place.log),
    }


def packs_json(plan: Plan, packs: Sequence[PlannedPack], estimate: Estimate) -> Packing | None:
    """The packs that train, for programs; None where packing is off.

    Args:
        plan: The experiment.
        packs: What :func:`planned_packs` gave.
        estimate: What its jobs would cost.
    """
    devices = devices_of(plan.settings)
    if devices is None:
        return None
    packs = [each for each in packs if each.job.rule == "train_pack"]
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
                        "point": plan.grid.get(job.wildcards["slot"]),
                        "about": job.about,
                    }
                    for job in each.members
                ],
            }
            for each in packs
        ],
    }


def _until_done(packs: Sequence[PlannedPack], devices: int, estimate: Estimate) -> DoneAfter:
    """Seconds until the last device is done, the start of each process included."""
    start, packed, alone = estimate.start_seconds, 0.0, 0.0
    by_step: dict[int, list[PlannedPack]] = defaultdict(list)
    for each in packs:
        by_step[_step(each.members[0])].append(each)
    for own in by_step.values():
        loads = [0.0] * devices
        each_alone = [estimate.training_seconds(job) for each in own for job in each.members]
        if start is None or None in each_alone:
            return {"packed": None, "alone": None}
        for each in own:
            loads[each.device] += start + (each.seconds or 0.0)
        members = [Member(str(n), start + (seconds or 0.0)) for n, seconds in enumerate(each_alone)]
        packed += max(loads)
        alone += makespan(longest_first(members, devices))
    return {"packed": packed, "alone": alone}


def _planned(plan: Plan, rule: str, pack: Pack, members: list[Job], *, timed: bool) -> PlannedPack:
    """A pack whose status is yet to be written.

    Where specialists were removed by hand, the status of a pack of the same is still there.
    """
    own = sorted(_full_name(job, plan) for job in members)
    names = (settings_id(own, again) for again in itertools.count())
    name = next(name for name in names if not plan.layout.pack_status(name, rule).exists())
    job = Job(rule, {"pack": name}, (plan.layout.pack_status(name, rule),))
    return PlannedPack(name, pack.device, tuple(members), job, pack.seconds if timed else None)


def _name(job: Job, plan: Plan) -> str:
    """A specialist as people know it."""
    step, slot = job.wildcards["step"], job.wildcards["slot"]
    if slot in plan.grid:
        return f"partition {job.partition} at {point_text(plan.grid[slot])}"
    if point_of(job.wildcards["digest"]) is not None:
        return f"partition {job.partition}, continued"
    return f"partition {job.partition} in slot {number_of(slot)} of step {step}"


def _full_name(job: Job, plan: Plan) -> str:
    if job.rule != TRAINS:
        return str(job.outputs[0])
    slot = job.wildcards["slot"]
    search = plan.layout.search(job.wildcards["digest"], validation_of(slot))
    return search.full_name(_step(job), slot)


def _step(job: Job) -> int:
    return int(job.wildcards.get("step", 0))
