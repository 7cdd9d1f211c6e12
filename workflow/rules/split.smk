"""Rows to folds: columns and fitted folds once a generation, then shard by shard."""


rule split_fit:
    """Infer the columns and fit the folds that are not functions of one row."""
    input:
        demo=lambda wc: ancient(plan(wc).demo_names()),
    output:
        columns="results/{experiment}/{generation}/split/{split_id}/columns.json",
        folds="results/{experiment}/{generation}/split/{split_id}/folds.safetensors",
    log:
        "logs/{experiment}/{generation}/split_fit/{split_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/split_fit/{split_id}.tsv"
    wildcard_constraints:
        split_id=plans.unfitted("split"),
    conda:
        "../../envs/shoal.yaml"
    resources:
        **plans.resources("split_fit", "light"),
    params:
        code=lambda wc: plan(wc).fit_codes["split"],
        sources=lambda wc: plan(wc).sources_text(),
        source=lambda wc: [str(plan(wc).source(shard)) for shard in plan(wc).shards],
        shards=lambda wc: list(plan(wc).shards),
        split=lambda wc: plan(wc).text("split"),
    shell:
        "shoal split-fit --code {params.code} --sources {params.sources:q}"
        " --source {params.source:q} --shard {params.shards:q} --split {params.split:q}"
        " --columns {output.columns:q} --folds {output.folds:q} &> {log:q}"


rule split:
    """Read one source file, give its rows typed columns, a key and a fold."""
    input:
        demo=lambda wc: ancient(plan(wc).demo_names()),
        columns=ancient("results/{experiment}/{generation}/split/{split_id}/columns.json"),
        folds=ancient("results/{experiment}/{generation}/split/{split_id}/folds.safetensors"),
    output:
        table="results/{experiment}/{generation}/split/{split_id}/rows/{rows_id}/{shard}.parquet",
    log:
        "logs/{experiment}/{generation}/split/{split_id}/{rows_id}/{shard}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/split/{split_id}/{rows_id}/{shard}.tsv"
    conda:
        "../../envs/shoal.yaml"
    resources:
        **plans.resources("split", "light"),
    params:
        arrays=lambda wc: plan(wc).arrays(wc.shard),
        split=lambda wc: plan(wc).text("split"),
        source=lambda wc, input: str(plan(wc).source(wc.shard)),
        batch_rows=lambda wc, input: plan(wc).settings.sources.batch_rows,
    shell:
        "shoal split --source {params.source:q} --shard {wildcards.shard} --arrays {params.arrays:q}"
        " --columns {input.columns:q} --folds {input.folds:q} --split {params.split:q}"
        " --batch-rows {params.batch_rows} --table {output.table:q} &> {log:q}"


rule split_check:
    """Check what no shard can see alone: duplicate ids, groups across folds, empty folds."""
    input:
        tables=lambda wc: ancient(plan(wc).layout.rows("split")),
        columns=ancient("results/{experiment}/{generation}/split/{split_id}/columns.json"),
    output:
        check="results/{experiment}/{generation}/split/{split_id}/checks/{check_id}.json",
    log:
        "logs/{experiment}/{generation}/split_check/{split_id}/{check_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/split_check/{split_id}/{check_id}.tsv"
    conda:
        "../../envs/shoal.yaml"
    resources:
        **plans.resources("split_check", "light"),
    params:
        sources=lambda wc, input: [str(plan(wc).source(shard)) for shard in plan(wc).layout.shards],
        split=lambda wc: plan(wc).text("split"),
    shell:
        "shoal split-check --table {input.tables:q} --source {params.sources:q}"
        " --columns {input.columns:q} --split {params.split:q} --check {output.check:q} &> {log:q}"
