"""Tensors to an embedding, by self-supervision."""


rule embed_fit:
    """Train the embedder on the training fold."""
    input:
        rows=lambda wc: plan(wc).layout.rows("encode"),
        shapes=lambda wc: plan(wc).layout.fit("encode", "shapes.json"),
    output:
        embedder="results/{experiment}/{generation}/embed/{embed_id}/embedder.safetensors",
        ledger="results/{experiment}/{generation}/embed/{embed_id}/ledger.json",
    log:
        "logs/{experiment}/{generation}/embed_fit/{embed_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/embed_fit/{embed_id}.tsv"
    wildcard_constraints:
        embed_id=plans.unfitted("embed"),
    conda:
        "../../envs/shoal.yaml"
    threads: plans.settings.compute.threads
    resources:
        **plans.resources("embed_fit", plans.embed_need),
    params:
        code=lambda wc: plan(wc).fit_codes["embed"],
        settings=lambda wc: plan(wc).text("embed"),
        threads=plans.settings.compute.threads,
        seconds=lambda wc, input: plan(wc).settings.compute.checkpoint_seconds,
    shell:
        "shoal embed-fit --code {params.code} --settings {params.settings:q} --rows {input.rows:q}"
        " --shapes {input.shapes:q} --embedder {output.embedder:q} --ledger {output.ledger:q}"
        " --threads {params.threads} --checkpoint-seconds {params.seconds} &> {log:q}"


rule embed:
    """Embed one shard's rows."""
    input:
        rows=lambda wc: ancient(plan(wc).layout.shard_rows("encode", wc.shard)),
        embedder=ancient("results/{experiment}/{generation}/embed/{embed_id}/embedder.safetensors"),
    output:
        embedding="results/{experiment}/{generation}/embed/{embed_id}/rows/{rows_id}/{shard}.zarr.zip",
    log:
        "logs/{experiment}/{generation}/embed/{embed_id}/{rows_id}/{shard}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/embed/{embed_id}/{rows_id}/{shard}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.settings.compute.threads
    resources:
        **plans.resources("embed", "light"),
    params:
        threads=plans.settings.compute.threads,
    shell:
        "shoal embed --rows {input.rows:q} --embedder {input.embedder:q}"
        " --embedding {output.embedding:q} --threads {params.threads} &> {log:q}"
