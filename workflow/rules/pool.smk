"""The deliverable."""


rule pool:
    """Put router, specialists and all fitted state into one folder that needs nothing else."""
    input:
        unpack(plans.inputs("pool")),
    output:
        manifest="results/{experiment}/{generation}/pool/{pool_id}/{root}/manifest.json",
    log:
        "logs/{experiment}/{generation}/pool/{pool_id}/{root}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/pool/{pool_id}/{root}.tsv"
    conda:
        "../../envs/shoal.yaml"
    resources:
        **plans.resources("pool"),
    params:
        settings=plans.run_file,
    shell:
        "shoal pool-build --settings {params.settings:q} &> {log:q}"


rule pool_publish:
    """Keep the models; copy pool, metrics and report to where people look for them."""
    input:
        unpack(plans.inputs("pool_publish")),
    output:
        record="results/{experiment}{variant}/published/{release}.json",
    log:
        "logs/{experiment}/pool_publish{variant}/{release}.log",
    benchmark:
        "results/{experiment}/benchmarks/pool_publish{variant}/{release}.tsv"
    conda:
        "../../envs/shoal.yaml"
    params:
        settings=plans.run_file,
    shell:
        "shoal pool-publish --settings {params.settings:q} &> {log:q}"
