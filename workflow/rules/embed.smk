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
