"""Human-readable rows to human-readable rows."""


rule transform_fit:
    """Fit the transform steps on the training fold."""
    input:
        tables=plan.rows("split"),
        check=plan.frozen("split", "check.json"),
        columns=plan.frozen("split", "columns.json"),
    output:
        state="results/{experiment}/{generation}/transform/{transform_id}/state.json",
    log:
        "logs/{experiment}/{generation}/transform_fit/{transform_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/transform_fit/{transform_id}.tsv"
    wildcard_constraints:
        transform_id=plan.unfitted("transform", "state.json"),
    conda:
        "../../envs/shoal.yaml"
    params:
        settings=plan.text("transform"),
    shell:
        "shoal transform-fit --settings {params.settings:q} --table {input.tables:q}"
        " --columns {input.columns:q} --state {output.state:q} &> {log:q}"


rule transform:
    """Apply the fitted steps to one shard."""
    input:
        table=lambda wc: plan.shard_rows("split", wc.shard),
        state=ancient("results/{experiment}/{generation}/transform/{transform_id}/state.json"),
    output:
        table="results/{experiment}/{generation}/transform/{transform_id}/rows/{shard}.parquet",
    log:
        "logs/{experiment}/{generation}/transform/{transform_id}/{shard}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/transform/{transform_id}/{shard}.tsv"
    conda:
        "../../envs/shoal.yaml"
    params:
        code=plan.code("transform.command"),
    shell:
        "shoal transform --table {input.table:q} --shard {wildcards.shard:q}"
        " --state {input.state:q} --out {output.table:q} &> {log:q}"
