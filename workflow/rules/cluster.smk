"""Embedded rows to partitions, and the index that everything after it is planned from."""


rule cluster_fit:
    """Fit the assigner: atoms, merged into balanced partitions."""
    input:
        unpack(plans.inputs("cluster_fit")),
    output:
        assigner="results/{experiment}/{generation}/cluster/{cluster_id}/assigner.safetensors",
        ledger="results/{experiment}/{generation}/cluster/{cluster_id}/ledger.json",
    log:
        "logs/{experiment}/{generation}/cluster_fit/{cluster_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/cluster_fit/{cluster_id}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.threads
    resources:
        **plans.resources("cluster_fit"),
    params:
        settings=plans.run_file,
        threads=plans.threads,
    shell:
        "shoal cluster-fit --settings {params.settings:q} --threads {params.threads} &> {log:q}"


checkpoint cluster_grow:
    """Look for rows of a new kind among those that arrived; add atoms and partitions for them."""
    input:
        unpack(plans.inputs("cluster_grow")),
    output:
        assigner="results/{experiment}/{generation}/cluster/{cluster_id}/grown/{grown_id}/assigner.safetensors",
        ledger="results/{experiment}/{generation}/cluster/{cluster_id}/grown/{grown_id}/ledger.json",
    log:
        "logs/{experiment}/{generation}/cluster_grow/{cluster_id}/{grown_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/cluster_grow/{cluster_id}/{grown_id}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.threads
    resources:
        **plans.resources("cluster_grow"),
    params:
        settings=plans.run_file,
        threads=plans.threads,
    shell:
        "shoal cluster-grow --settings {params.settings:q} --grown-id {wildcards.grown_id:q}"
        " --threads {params.threads} &> {log:q}"


rule assign:
    """Group one shard's rows by partition, with a digest for each."""
    input:
        unpack(plans.inputs("assign")),
    output:
        rows="results/{experiment}/{generation}/cluster/{cluster_id}/rows/{rows_id}/{shard}.zarr.zip",
        summary="results/{experiment}/{generation}/cluster/{cluster_id}/summary/{rows_id}/{shard}.json",
        distances="results/{experiment}/{generation}/cluster/{cluster_id}/distances/{rows_id}/{shard}.safetensors",
    log:
        "logs/{experiment}/{generation}/assign/{cluster_id}/{rows_id}/{shard}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/assign/{cluster_id}/{rows_id}/{shard}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.threads
    resources:
        **plans.resources("assign"),
    params:
        settings=plans.run_file,
        threads=plans.threads,
    shell:
        "shoal assign --settings {params.settings:q} --shard {wildcards.shard:q}"
        " --threads {params.threads} &> {log:q}"


rule compare_mixes:
    """Compare mixes of new rows and history, by which models may continue."""
    input:
        unpack(plans.inputs("compare_mixes")),
    output:
        mixes="results/{experiment}/{generation}/cluster/{cluster_id}/mixes/{index_id}/mixes.json",
    log:
        "logs/{experiment}/{generation}/compare_mixes/{cluster_id}/{index_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/compare_mixes/{cluster_id}/{index_id}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.threads
    resources:
        **plans.resources("compare_mixes"),
    params:
        settings=plans.run_file,
        threads=plans.threads,
    shell:
        "shoal compare-mixes --settings {params.settings:q} --threads {params.threads} &> {log:q}"


checkpoint partition:
    """Merge the shards' summaries into the partition index; reads no rows."""
    input:
        unpack(plans.inputs("partition")),
    output:
        index="results/{experiment}/{generation}/cluster/{cluster_id}/indexes/{index_id}/index.json",
    log:
        "logs/{experiment}/{generation}/partition/{cluster_id}/{index_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/partition/{cluster_id}/{index_id}.tsv"
    conda:
        "../../envs/shoal.yaml"
    params:
        settings=plans.run_file,
    shell:
        "shoal partition --settings {params.settings:q} &> {log:q}"
