"""Embedded rows to partitions, and the index that everything after it is planned from."""


rule cluster_fit:
    """Fit the assigner: atoms, merged into balanced partitions."""
    input:
        embeddings=lambda wc: plan(wc).layout.rows("embed"),
        rows=lambda wc: plan(wc).layout.rows("encode"),
        tables=lambda wc: plan(wc).layout.rows("transform"),
        base=lambda wc: plan(wc).probed("base", "base.safetensors"),
        shapes=lambda wc: plan(wc).probed("encode", "shapes.json"),
    output:
        assigner="results/{experiment}/{generation}/cluster/{cluster_id}/assigner.safetensors",
        ledger="results/{experiment}/{generation}/cluster/{cluster_id}/ledger.json",
    log:
        "logs/{experiment}/{generation}/cluster_fit/{cluster_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/cluster_fit/{cluster_id}.tsv"
    wildcard_constraints:
        cluster_id=plans.unfitted("cluster"),
    conda:
        "../../envs/shoal.yaml"
    threads: plans.settings.compute.threads
    resources:
        **plans.resources("cluster_fit", plans.cluster_need),
    params:
        code=lambda wc: plan(wc).fit_codes["cluster"],
        settings=lambda wc: plan(wc).text("cluster"),
        model=plans.first.text("model"),
        training=lambda wc: plan(wc).text("train_specialists"),
        threads=plans.settings.compute.threads,
    shell:
        "shoal cluster-fit --code {params.code} --settings {params.settings:q} --rows {input.rows:q}"
        " --embedding {input.embeddings:q} --table {input.tables:q}"
        " --model {params.model:q} --training {params.training:q}"
        " --base {input.base:q} --shapes {input.shapes:q}"
        " --assigner {output.assigner:q} --ledger {output.ledger:q}"
        " --threads {params.threads} &> {log:q}"


rule assign:
    """Group one shard's rows by partition, with a digest for each."""
    input:
        embedding=lambda wc: ancient(plan(wc).layout.shard_rows("embed", wc.shard)),
        rows=lambda wc: ancient(plan(wc).layout.shard_rows("encode", wc.shard)),
        table=lambda wc: ancient(plan(wc).layout.shard_rows("transform", wc.shard)),
        assigner=ancient(
            "results/{experiment}/{generation}/cluster/{cluster_id}/assigner.safetensors"
        ),
    output:
        rows="results/{experiment}/{generation}/cluster/{cluster_id}/rows/{rows_id}/{shard}.zarr.zip",
        summary="results/{experiment}/{generation}/cluster/{cluster_id}/summary/{rows_id}/{shard}.json",
    log:
        "logs/{experiment}/{generation}/assign/{cluster_id}/{rows_id}/{shard}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/assign/{cluster_id}/{rows_id}/{shard}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.settings.compute.threads
    resources:
        **plans.resources("assign", "light"),
    params:
        threads=plans.settings.compute.threads,
    shell:
        "shoal assign --rows {input.rows:q} --embedding {input.embedding:q}"
        " --table {input.table:q} --assigner {input.assigner:q} --shard {wildcards.shard:q}"
        " --out {output.rows:q} --summary {output.summary:q}"
        " --threads {params.threads} &> {log:q}"


checkpoint partition:
    """Merge the shards' summaries into the partition index; reads no rows."""
    input:
        summaries=lambda wc: [
            ancient(plan(wc).layout.summary(shard)) for shard in plan(wc).layout.shards
        ],
        check=lambda wc: ancient(plan(wc).layout.check),
        assigner=ancient(
            "results/{experiment}/{generation}/cluster/{cluster_id}/assigner.safetensors"
        ),
    output:
        index="results/{experiment}/{generation}/cluster/{cluster_id}/indexes/{index_id}/index.json",
    log:
        "logs/{experiment}/{generation}/partition/{cluster_id}/{index_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/partition/{cluster_id}/{index_id}.tsv"
    conda:
        "../../envs/shoal.yaml"
    params:
        min_rows=lambda wc: plan(wc).settings.cluster.min_rows,
        stores=lambda wc: plan(wc).layout.shard_rows("cluster", "").parent,
        tolerance=lambda wc, input: plan(wc).settings.changes.tolerance,
        before=lambda wc, input: plan(wc).tolerated_index(),
        released=lambda wc, input: plan(wc).released(),
    shell:
        "shoal partition --summary {input.summaries:q} --assigner {input.assigner:q}"
        " --check {input.check:q} --lineage {wildcards.cluster_id} --min-rows {params.min_rows}"
        " --stores {params.stores:q} --tolerance {params.tolerance} --before {params.before:q}"
        " --released {params.released:q} --index {output.index:q} &> {log:q}"
