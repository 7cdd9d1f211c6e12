"""Human-readable rows to human-readable rows."""


rule transform_fit:
    """Fit the transform steps on the training fold."""
    input:
        unpack(plans.inputs("transform_fit")),
    output:
        state="results/{experiment}/{generation}/transform/{transform_id}/state.json",
    log:
        "logs/{experiment}/{generation}/transform_fit/{transform_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/transform_fit/{transform_id}.tsv"
    conda:
        "../../envs/shoal.yaml"
    resources:
        **plans.resources("transform_fit"),
    params:
        settings=plans.run_file,
    shell:
        "shoal transform-fit --settings {params.settings:q} &> {log:q}"


rule transform:
    """Apply the fitted steps to one shard."""
    input:
        unpack(plans.inputs("transform")),
    output:
        table="results/{experiment}/{generation}/transform/{transform_id}/rows/{rows_id}/{shard}.parquet",
    log:
        "logs/{experiment}/{generation}/transform/{transform_id}/{rows_id}/{shard}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/transform/{transform_id}/{rows_id}/{shard}.tsv"
    conda:
        "../../envs/shoal.yaml"
    resources:
        **plans.resources("transform"),
    params:
        settings=plans.run_file,
    shell:
        "shoal transform --settings {params.settings:q} --shard {wildcards.shard:q} &> {log:q}"
