"""Tensors to an embedding, by self-supervision."""


rule embed_fit:
    """Train the embedder on the training fold."""
    input:
        unpack(plans.inputs("embed_fit")),
    output:
        embedder="results/{experiment}/{generation}/embed/{embed_id}/embedder.safetensors",
        ledger="results/{experiment}/{generation}/embed/{embed_id}/ledger.json",
    log:
        "logs/{experiment}/{generation}/embed_fit/{embed_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/embed_fit/{embed_id}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.threads
    resources:
        **plans.resources("embed_fit"),
    params:
        settings=plans.run_file,
        threads=plans.threads,
    shell:
        "shoal embed-fit --settings {params.settings:q} --threads {params.threads} &> {log:q}"


rule embed:
    """Embed one shard's rows."""
    input:
        unpack(plans.inputs("embed")),
    output:
        embedding="results/{experiment}/{generation}/embed/{embed_id}/rows/{rows_id}/{shard}.zarr.zip",
    log:
        "logs/{experiment}/{generation}/embed/{embed_id}/{rows_id}/{shard}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/embed/{embed_id}/{rows_id}/{shard}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.threads
    resources:
        **plans.resources("embed"),
    params:
        settings=plans.run_file,
        threads=plans.threads,
    shell:
        "shoal embed --settings {params.settings:q} --shard {wildcards.shard:q}"
        " --threads {params.threads} &> {log:q}"
