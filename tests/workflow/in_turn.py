"""The jobs of a small workflow, one after the other in this process, without Snakemake."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.cli.stage_command import run_stage
from shoal.plan.stages import STAGES

if TYPE_CHECKING:
    from shoal.plan.plan import Plan


def run(plan: Plan, *_: str) -> None:
    """Do the jobs of a plan that are missing, but for those about several variants."""
    plan.write_records()
    jobs = list(plan.layout.early_jobs())
    while jobs:
        for job in jobs:
            stage = STAGES[job.rule]
            if job.missing and stage.per != "variants":
                options = [f"--{key.replace('_', '-')}={job.wildcards[key]}" for key in stage.keys]
                options += ["--threads=1"] if "compute" in stage.settings else []
                run_stage(job.rule, [f"--settings={plan.run_file}", *options])
        later = jobs[0].rule == "split_fit"
        jobs = list(plan.layout.later_jobs(plan.layout.read_index())) if later else []
