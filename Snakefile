"""Shoal: from source files to a pool of specialists. A table of contents; read workflow/rules/."""

import sys

# Snakemake puts this folder before what is installed; a file in it would hide a library.
sys.path[:] = [folder for folder in sys.path if folder != workflow.basedir]

from snakemake.utils import min_version

from shoal.plan.answers import link_to_answers
from shoal.workflow.start import begin, end_well, end_with_failures, prepare, start

min_version("9.27")

plans = start(config, workflow)
plan = plans.of  # a job's own, by its wildcards


wildcard_constraints:
    experiment=plans.settings.name,
    generation=plans.generations,
    shard=plans.shard_pattern(),
    variant="(/variants/[0-9a-f]{10})?",
    split_id="[0-9a-f]{10}",
    transform_id="[0-9a-f]{10}",
    encode_id="[0-9a-f]{10}",
    embed_id="[0-9a-f]{10}",
    cluster_id="[0-9a-f]{10}",
    base_id="[0-9a-f]{10}",
    rows_id="[0-9a-f]{10}",
    check_id="[0-9a-f]{10}",
    index_id="[0-9a-f]{10}",
    specialists_id="[0-9a-f]{10}",
    choices_id="[0-9a-f]{10}",
    router_id="[0-9a-f]{10}",
    baselines_id="[0-9a-f]{10}",
    evaluate_id="[0-9a-f]{10}",
    drift_id="[0-9a-f]{10}",
    gate_id="[0-9a-f]{10}",
    pool_id="[0-9a-f]{10}",
    release="[0-9a-f]{10}",
    answers_id="[0-9a-f]{10}",
    step=r"\d+",
    slot=r"[0-9a-f]{10}|([0-9a-f]{24}|partition-\d+)-\d+",
    pack="[0-9a-f]{10}",
    digest=r"[0-9a-f]{24}|partition-\d+",
    validation=r"[0-9a-f]{24}|partition-\d+",
    root="[0-9a-f]{24}|planned",
    basis="[0-9a-f]{24}|planned|generation|incomplete",


localrules:
    all,
    partition,
    pool_publish,
    answers,


rule all:
    """Every output that is missing, of every stage, whatever failed before."""
    input:
        plans.early_targets(),
        *plans.later_targets(checkpoints),
        lambda wc: plans.answers_targets(checkpoints),


include: "workflow/rules/demo.smk"
include: "workflow/rules/split.smk"
include: "workflow/rules/transform.smk"
include: "workflow/rules/encode.smk"
include: "workflow/rules/embed.smk"
include: "workflow/rules/cluster.smk"
include: "workflow/rules/train_specialists.smk"
include: "workflow/rules/train_router.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/gate.smk"
include: "workflow/rules/pool.smk"
include: "workflow/rules/answers.smk"


prepare(workflow.rules)


onstart:
    begin(plans)


onsuccess:
    end_well(plans, log)


onerror:
    end_with_failures(plans, log)
