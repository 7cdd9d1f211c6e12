"""A lab that trains in this process, one job after the other, without Snakemake."""

from __future__ import annotations

import contextlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from shoal.cli.stage_command import run_stage
from shoal.formats.documents.index import PartitionIndex
from shoal.formats.json_file import read_made
from shoal.plan.plan import Plan
from shoal.plan.stages import STAGES
from shoal.plan.variants import only_variant
from tests.stateful.lab import Lab, Ran

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shoal.plan.jobs import Job
    from shoal.plan.variants import Variant
    from tests.stateful.oracle import Choices

TRAINS = (
    *("split", "split_check", "transform", "encode", "assign", "partition"),
    *("train_specialist", "train_choose", "train_router", "evaluate_generalist"),
)
"""Rules of the jobs on which it depends what a later run trains, or continues from."""


class Direct(Lab):
    """Runs the commands of a plan that do not fail: one variant, no packs, no growing."""

    def run(self, choices: Choices, *_: str, **__: str) -> tuple[int, list[Ran]]:
        """Run what is missing: 0, and the jobs that it did."""
        return 0, self._run(self._plan(choices), tuple(STAGES))

    def train(self, choices: Choices) -> list[Ran]:
        """Run what trains, and record a release as if all else had run too."""
        plan = self._plan(choices)
        ran = self._run(plan, TRAINS)
        with contextlib.chdir(self.folder):
            before = plan.history.current
            assert before is not None
            if before["release"] != plan.layout.release:
                plan.history.withdraw()
                plan.history.publish({**before, **plan.record["plan"]})
        return ran

    def _plan(self, choices: Choices) -> Plan:
        with contextlib.chdir(self.folder):
            overrides, config = choices.overrides(), Path("config")
            return Plan("small", overrides, config, _variant(self.folder, tuple(overrides)))

    def _run(self, plan: Plan, rules: Iterable[str]) -> list[Ran]:
        with contextlib.chdir(self.folder):
            plan.write_records()
            ran = _done(plan, (job for job in plan.layout.early_jobs() if job.rule in rules))
            index = read_made(plan.layout.index, PartitionIndex)
            jobs = (job for job in plan.layout.later_jobs(index) if job.rule in rules)
            return [*ran, *_done(plan, jobs)]


@cache
def _variant(folder: Path, overrides: tuple[str, ...]) -> Variant:
    """The settings of a lab, composed once: that takes as long as a step."""
    return only_variant(folder / "config", "small", list(overrides))


def _done(plan: Plan, jobs: Iterable[Job]) -> list[Ran]:
    """Do those jobs whose outputs are missing."""
    ran = []
    for job in jobs:
        if job.missing:
            arguments = ["--settings", str(plan.run_file)]
            for name, value in job.wildcards.items():
                arguments += [f"--{name.replace('_', '-')}", value]
            if "compute" in STAGES[job.rule].settings:
                arguments += ["--threads", str(plan.settings.compute.threads)]
            run_stage(job.rule, arguments)
            ran.append(Ran(job.rule, tuple(sorted(job.wildcards.items()))))
    return ran
