"""Rows to tensors."""


rule encode_fit:
    """Fit the encoders on the training fold."""
    input:
        tables=lambda wc: plan(wc).layout.rows("transform"),
        columns=lambda wc: plan(wc).layout.fit("split", "columns.json"),
    output:
        encoder="results/{experiment}/{generation}/encode/{encode_id}/encoder.skops",
        shapes="results/{experiment}/{generation}/encode/{encode_id}/shapes.json",
    log:
        "logs/{experiment}/{generation}/encode_fit/{encode_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/encode_fit/{encode_id}.tsv"
    wildcard_constraints:
        encode_id=plans.unfitted("encode"),
    conda:
        "../../envs/shoal.yaml"
    threads: plans.settings.compute.threads
    resources:
        **plans.resources("encode_fit", "light"),
    params:
        code=lambda wc: plan(wc).fit_codes["encode"],
        settings=lambda wc: plan(wc).text("encode"),
        threads=plans.settings.compute.threads,
    shell:
        "shoal encode-fit --code {params.code} --settings {params.settings:q} --table {input.tables:q}"
        " --columns {input.columns:q} --encoder {output.encoder:q} --shapes {output.shapes:q}"
        " --threads {params.threads} &> {log:q}"


rule encode:
    """Encode one shard's rows, and hash each."""
    input:
        table=lambda wc: ancient(plan(wc).layout.shard_rows("transform", wc.shard)),
        encoder=ancient("results/{experiment}/{generation}/encode/{encode_id}/encoder.skops"),
        shapes=ancient("results/{experiment}/{generation}/encode/{encode_id}/shapes.json"),
    output:
        rows="results/{experiment}/{generation}/encode/{encode_id}/rows/{rows_id}/{shard}.zarr.zip",
    log:
        "logs/{experiment}/{generation}/encode/{encode_id}/{rows_id}/{shard}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/encode/{encode_id}/{rows_id}/{shard}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.settings.compute.threads
    resources:
        **plans.resources("encode", "light"),
    params:
        content=lambda wc: plan(wc).layout.made["content"],
        threads=plans.settings.compute.threads,
    shell:
        "shoal encode --table {input.table:q} --shard {wildcards.shard:q}"
        " --encoder {input.encoder:q} --shapes {input.shapes:q} --content {params.content}"
        " --rows {output.rows:q} --threads {params.threads} &> {log:q}"
