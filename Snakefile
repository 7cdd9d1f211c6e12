"""Shoal: from source files to a pool of specialists. A table of contents; read workflow/rules/."""

import sys

# Snakemake puts this folder before what is installed; a file in it would hide a library.
sys.path[:] = [folder for folder in sys.path if folder != workflow.basedir]

from snakemake.utils import min_version

from shoal.workflow.start import begin, end_well, end_with_failures, start

min_version("9.27")

plans = start(config, workflow)


wildcard_constraints:
    **plans.constraints(),


localrules:
    all,
    partition,
    choose_variant,
    pool_publish,
    answers,


rule all:
    """Every output that is missing, of every stage, whatever failed before."""
    input:
        *plans.targets(),


include: "workflow/rules/split.smk"
include: "workflow/rules/transform.smk"
include: "workflow/rules/encode.smk"
include: "workflow/rules/embed.smk"
include: "workflow/rules/cluster.smk"
include: "workflow/rules/train_specialists.smk"
include: "workflow/rules/train_router.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/ask.smk"
include: "workflow/rules/gate.smk"
include: "workflow/rules/pool.smk"
include: "workflow/rules/deploy.smk"
include: "workflow/rules/answers.smk"


onstart:
    begin(plans)


onsuccess:
    end_well(plans, log)


onerror:
    end_with_failures(plans, log)
