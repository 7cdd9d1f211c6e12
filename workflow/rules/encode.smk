"""Rows to tensors."""


rule encode_fit:
    """Fit the encoders on the training fold."""
    input:
        unpack(plans.inputs("encode_fit")),
    output:
        encoder="results/{experiment}/{generation}/encode/{encode_id}/encoder.safetensors",
        shapes="results/{experiment}/{generation}/encode/{encode_id}/shapes.json",
    log:
        "logs/{experiment}/{generation}/encode_fit/{encode_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/encode_fit/{encode_id}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.threads
    resources:
        **plans.resources("encode_fit"),
    params:
        settings=plans.run_file,
        threads=plans.threads,
    shell:
        "shoal encode-fit --settings {params.settings:q} --threads {params.threads} &> {log:q}"


rule encode:
    """Encode one shard's rows, and hash each."""
    input:
        unpack(plans.inputs("encode")),
    output:
        rows="results/{experiment}/{generation}/encode/{encode_id}/rows/{rows_id}/{shard}.zarr.zip",
    log:
        "logs/{experiment}/{generation}/encode/{encode_id}/{rows_id}/{shard}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/encode/{encode_id}/{rows_id}/{shard}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.threads
    resources:
        **plans.resources("encode"),
    params:
        settings=plans.run_file,
        threads=plans.threads,
    shell:
        "shoal encode --settings {params.settings:q} --shard {wildcards.shard:q}"
        " --threads {params.threads} &> {log:q}"
