"""Human-readable rows to human-readable rows."""


rule transform_fit:
    """Fit the transform steps on the training fold."""
    input:
        tables=lambda wc: plan(wc).layout.rows("split"),
        check=lambda wc: plan(wc).layout.check,
        columns=lambda wc: plan(wc).layout.fit("split", "columns.json"),
    output:
        state="results/{experiment}/{generation}/transform/{transform_id}/state.json",
    log:
        "logs/{experiment}/{generation}/transform_fit/{transform_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/transform_fit/{transform_id}.tsv"
    wildcard_constraints:
        transform_id=plans.unfitted("transform"),
    conda:
        "../../envs/shoal.yaml"
    resources:
        **plans.resources("transform_fit", "light"),
    params:
        code=lambda wc: plan(wc).fit_codes["transform"],
        settings=lambda wc: plan(wc).text("transform"),
    shell:
        "shoal transform-fit --code {params.code} --settings {params.settings:q} --table {input.tables:q}"
        " --columns {input.columns:q} --state {output.state:q} &> {log:q}"


rule transform:
    """Apply the fitted steps to one shard."""
    input:
        table=lambda wc: ancient(plan(wc).layout.shard_rows("split", wc.shard)),
        state=ancient("results/{experiment}/{generation}/transform/{transform_id}/state.json"),
    output:
        table="results/{experiment}/{generation}/transform/{transform_id}/rows/{rows_id}/{shard}.parquet",
    log:
        "logs/{experiment}/{generation}/transform/{transform_id}/{rows_id}/{shard}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/transform/{transform_id}/{rows_id}/{shard}.tsv"
    conda:
        "../../envs/shoal.yaml"
    resources:
        **plans.resources("transform", "light"),
    shell:
        "shoal transform --table {input.table:q} --shard {wildcards.shard:q}"
        " --state {input.state:q} --out {output.table:q} &> {log:q}"
