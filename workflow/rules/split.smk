"""Rows to folds: columns and fitted folds once a generation, then shard by shard."""


rule split_fit:
    """Infer the columns and fit the folds that are not functions of one row."""
    input:
        unpack(plans.inputs("split_fit")),
    output:
        columns="results/{experiment}/{generation}/split/{split_id}/columns.json",
        folds="results/{experiment}/{generation}/split/{split_id}/folds.safetensors",
    log:
        "logs/{experiment}/{generation}/split_fit/{split_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/split_fit/{split_id}.tsv"
    conda:
        "../../envs/shoal.yaml"
    resources:
        **plans.resources("split_fit"),
    params:
        settings=plans.run_file,
    shell:
        "shoal split-fit --settings {params.settings:q} &> {log:q}"


rule split:
    """Read one source file, give its rows typed columns, a key and a fold."""
    input:
        unpack(plans.inputs("split")),
    output:
        table="results/{experiment}/{generation}/split/{split_id}/rows/{rows_id}/{shard}.parquet",
        facts="results/{experiment}/{generation}/split/{split_id}/rows/{rows_id}/check/{shard}.safetensors",
        sample="results/{experiment}/{generation}/split/{split_id}/rows/{rows_id}/check/{shard}.parquet",
    log:
        "logs/{experiment}/{generation}/split/{split_id}/{rows_id}/{shard}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/split/{split_id}/{rows_id}/{shard}.tsv"
    conda:
        "../../envs/shoal.yaml"
    resources:
        **plans.resources("split"),
    params:
        settings=plans.run_file,
    shell:
        "shoal split --settings {params.settings:q} --shard {wildcards.shard:q} &> {log:q}"


rule split_check:
    """Check what no shard can see alone: duplicate ids, groups across folds, empty folds."""
    input:
        unpack(plans.inputs("split_check")),
    output:
        check="results/{experiment}/{generation}/split/{split_id}/checks/{check_id}.json",
    log:
        "logs/{experiment}/{generation}/split_check/{split_id}/{check_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/split_check/{split_id}/{check_id}.tsv"
    conda:
        "../../envs/shoal.yaml"
    resources:
        **plans.resources("split_check"),
    params:
        settings=plans.run_file,
    shell:
        "shoal split-check --settings {params.settings:q} &> {log:q}"
