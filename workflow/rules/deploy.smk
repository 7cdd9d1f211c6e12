"""Copies of the pool for devices, and patches from earlier copies; no job without a channel."""


rule deploy_copy:
    """Make the channel's next copy of the pool, and compare its answers with the pool's."""
    input:
        unpack(plans.inputs("deploy_copy")),
    output:
        manifest="results/{experiment}/{generation}/deploy/{deploy_id}/{after}/{root}/copy/manifest.json",
        record="results/{experiment}/{generation}/deploy/{deploy_id}/{after}/{root}/copy.json",
    log:
        "logs/{experiment}/{generation}/deploy_copy/{deploy_id}/{after}/{root}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/deploy_copy/{deploy_id}/{after}/{root}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.threads
    resources:
        **plans.resources("deploy_copy"),
    params:
        settings=plans.run_file,
        threads=plans.threads,
    shell:
        "shoal deploy-copy --settings {params.settings:q} --after {wildcards.after}"
        " --threads {params.threads} &> {log:q}"


rule deploy_patch:
    """Write the patch that brings an earlier copy to the channel's newest."""
    input:
        unpack(plans.inputs("deploy_patch")),
    output:
        patch="results/{experiment}/{generation}/deploy/{deploy_id}/{after}/{root}/patches/{patch_id}/{from_copy}.patch",
    log:
        "logs/{experiment}/{generation}/deploy_patch/{deploy_id}/{after}/{root}/{patch_id}/{from_copy}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/deploy_patch/{deploy_id}/{after}/{root}/{patch_id}/{from_copy}.tsv"
    conda:
        "../../envs/shoal.yaml"
    resources:
        **plans.resources("deploy_patch"),
    params:
        settings=plans.run_file,
    shell:
        "shoal deploy-patch --settings {params.settings:q} --after {wildcards.after}"
        " --from-copy {wildcards.from_copy} &> {log:q}"
