"""The deliverable."""


rule pool:
    """Put router, specialists and all fitted state into one folder that needs nothing else."""
    input:
        router=lambda wc: plan.router(plan.index(checkpoints.partition), "router.safetensors"),
        ledgers=lambda wc: plan.pool_ledgers(checkpoints.partition),
        choices=lambda wc: plan.choices(plan.index(checkpoints.partition)),
        specialists=lambda wc: plan.specialists(
            plan.index(checkpoints.partition), "model.safetensors"
        ),
        index=ancient(plan.frozen("cluster", "index.json")),
        columns=ancient(plan.frozen("split", "columns.json")),
        transform=ancient(plan.frozen("transform", "state.json")),
        encoder=ancient(plan.frozen("encode", "encoder.skops")),
        shapes=ancient(plan.frozen("encode", "shapes.json")),
        embedder=ancient(plan.frozen("embed", "embedder.safetensors")),
        base=ancient(plan.frozen("base", "base.safetensors")),
    output:
        manifest="results/{experiment}/{generation}/pool/{pool_id}/{root}/manifest.json",
    log:
        "logs/{experiment}/{generation}/pool/{pool_id}/{root}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/pool/{pool_id}/{root}.tsv"
    conda:
        "../../envs/shoal.yaml"
    params:
        code=plan.model_code("pool.command"),
        experiment=str(plan.settings_file),
    shell:
        "shoal pool --experiment {params.experiment:q} --router {input.router:q}"
        " --pool-ledger {input.ledgers:q} --choice {input.choices:q}"
        " --specialist {input.specialists:q} --index {input.index:q}"
        " --columns {input.columns:q} --transform {input.transform:q}"
        " --encoder {input.encoder:q} --shapes {input.shapes:q} --embedder {input.embedder:q}"
        " --base {input.base:q} --manifest {output.manifest:q} &> {log:q}"


rule pool_publish:
    """Copy the current pool, metrics and report to where people look for them."""
    input:
        manifest=lambda wc: plan.pool(plan.index(checkpoints.partition), "manifest.json"),
        metrics=lambda wc: plan.evaluation(plan.index(checkpoints.partition), "metrics.json"),
        report=lambda wc: plan.evaluation(plan.index(checkpoints.partition), "report.html"),
    output:
        manifest="results/{experiment}/pool/manifest.json",
        metrics="results/{experiment}/metrics.json",
        report="results/{experiment}/report.html",
    log:
        "logs/{experiment}/pool_publish.log",
    benchmark:
        "results/{experiment}/benchmarks/pool_publish.tsv"
    conda:
        "../../envs/shoal.yaml"
    params:
        code=plan.code("pool.command"),
    shell:
        "shoal pool-publish --manifest {input.manifest:q} --metrics {input.metrics:q}"
        " --report {input.report:q} --out {output.manifest:q}"
        " --metrics-out {output.metrics:q} --report-out {output.report:q} &> {log:q}"
