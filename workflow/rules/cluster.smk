"""Embedded rows to partitions, and the index that everything after it is planned from."""


rule cluster_fit:
    """Fit the assigner: atoms, merged into balanced partitions."""
    input:
        embeddings=plan.rows("embed"),
        rows=plan.rows("encode"),
        tables=plan.rows("transform"),
    output:
        assigner="results/{experiment}/{generation}/cluster/{cluster_id}/assigner.safetensors",
        ledger="results/{experiment}/{generation}/cluster/{cluster_id}/ledger.json",
    log:
        "logs/{experiment}/{generation}/cluster_fit/{cluster_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/cluster_fit/{cluster_id}.tsv"
    wildcard_constraints:
        cluster_id=plan.unfitted("cluster", "assigner.safetensors", "ledger.json"),
    conda:
        "../../envs/shoal.yaml"
    params:
        settings=plan.text("cluster"),
        threads=plan.settings.compute.threads,
    shell:
        "shoal cluster-fit --settings {params.settings:q} --rows {input.rows:q}"
        " --embedding {input.embeddings:q} --table {input.tables:q}"
        " --assigner {output.assigner:q} --ledger {output.ledger:q}"
        " --threads {params.threads} &> {log:q}"


rule assign:
    """Group one shard's rows by partition, with a digest for each."""
    input:
        embedding=lambda wc: plan.shard_rows("embed", wc.shard),
        rows=lambda wc: plan.shard_rows("encode", wc.shard),
        table=lambda wc: plan.shard_rows("transform", wc.shard),
        assigner=ancient(
            "results/{experiment}/{generation}/cluster/{cluster_id}/assigner.safetensors"
        ),
    output:
        rows="results/{experiment}/{generation}/cluster/{cluster_id}/rows/{shard}.zarr.zip",
        summary="results/{experiment}/{generation}/cluster/{cluster_id}/summary/{shard}.json",
    log:
        "logs/{experiment}/{generation}/assign/{cluster_id}/{shard}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/assign/{cluster_id}/{shard}.tsv"
    conda:
        "../../envs/shoal.yaml"
    params:
        code=plan.code("cluster.command"),
        threads=plan.settings.compute.threads,
    shell:
        "shoal assign --rows {input.rows:q} --embedding {input.embedding:q}"
        " --table {input.table:q} --assigner {input.assigner:q} --shard {wildcards.shard:q}"
        " --out {output.rows:q} --summary {output.summary:q}"
        " --threads {params.threads} &> {log:q}"


checkpoint partition:
    """Merge the shards' summaries into the partition index; reads no rows."""
    input:
        summaries=plan.summaries(),
        check=plan.frozen("split", "check.json"),
        assigner=ancient(
            "results/{experiment}/{generation}/cluster/{cluster_id}/assigner.safetensors"
        ),
    output:
        index="results/{experiment}/{generation}/cluster/{cluster_id}/index.json",
    log:
        "logs/{experiment}/{generation}/partition/{cluster_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/partition/{cluster_id}.tsv"
    conda:
        "../../envs/shoal.yaml"
    params:
        code=plan.code("cluster.command"),
        min_rows=plan.settings.cluster.min_rows,
    shell:
        "shoal partition --summary {input.summaries:q} --assigner {input.assigner:q}"
        " --lineage {wildcards.cluster_id} --min-rows {params.min_rows}"
        " --index {output.index:q} &> {log:q}"
