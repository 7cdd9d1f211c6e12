"""The deliverable."""


rule pool:
    """Put router, specialists and all fitted state into one folder that needs nothing else."""
    input:
        router=lambda wc: ancient(
            plan.layout.router(plan.index(checkpoints.partition), "router.safetensors")
        ),
        ledgers=lambda wc: ancient(
            plan.awaited(checkpoints.partition, plan.pool_ledgers(checkpoints.partition))
        ),
        choices=lambda wc: ancient(plan.choices(plan.index(checkpoints.partition))),
        specialists=lambda wc: ancient(
            plan.awaited(
                checkpoints.partition,
                plan.specialists(plan.index(checkpoints.partition), "model.safetensors"),
            )
        ),
        columns=ancient(plan.layout.fit("split", "columns.json")),
        transform=ancient(plan.layout.fit("transform", "state.json")),
        encoder=ancient(plan.layout.fit("encode", "encoder.skops")),
        shapes=ancient(plan.layout.fit("encode", "shapes.json")),
        embedder=ancient(plan.layout.fit("embed", "embedder.safetensors")),
        base=ancient(plan.layout.fit("base", "base.safetensors")),
        gate=lambda wc: ancient(plan.layout.gate(plan.index(checkpoints.partition))),
        generalist=lambda wc: ancient(plan.baseline(checkpoints.partition, "generalist", "model")),
    output:
        manifest="results/{experiment}/{generation}/pool/{pool_id}/{root}/manifest.json",
    log:
        "logs/{experiment}/{generation}/pool/{pool_id}/{root}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/pool/{pool_id}/{root}.tsv"
    conda:
        "../../envs/shoal.yaml"
    resources:
        **plan.resources.of("pool", "light"),
    params:
        index=lambda wc, input: plan.layout.index,
        specialists=lambda wc, input: plan.specialists(
            plan.index(checkpoints.partition), "model.safetensors"
        ),
        ledgers=lambda wc, input: plan.pool_ledgers(checkpoints.partition),
        failed=lambda wc, input: plan.failed_files(),
        experiment=str(plan.settings_file),
    shell:
        "shoal pool --experiment {params.experiment:q} --router {input.router:q}"
        " --pool-ledger {params.ledgers:q} --choice {input.choices:q}"
        " --specialist {params.specialists:q} --index {params.index:q} --failed {params.failed:q}"
        " --columns {input.columns:q} --transform {input.transform:q}"
        " --encoder {input.encoder:q} --shapes {input.shapes:q} --embedder {input.embedder:q}"
        " --base {input.base:q} --gate {input.gate:q} --generalist {input.generalist:q}"
        " --manifest {output.manifest:q} &> {log:q}"


rule pool_publish:
    """Copy the current pool, metrics and report to where people look for them."""
    input:
        manifest=lambda wc: ancient(
            plan.layout.pool(plan.index(checkpoints.partition), "manifest.json")
        ),
        metrics=lambda wc: ancient(
            plan.layout.evaluation(plan.index(checkpoints.partition), "metrics.json")
        ),
        report=lambda wc: ancient(
            plan.layout.evaluation(plan.index(checkpoints.partition), "report.html")
        ),
        drift=lambda wc: ancient(plan.layout.drift(plan.index(checkpoints.partition))),
    output:
        record="results/{experiment}/published/{release}.json",
    log:
        "logs/{experiment}/pool_publish/{release}.log",
    benchmark:
        "results/{experiment}/benchmarks/pool_publish/{release}.tsv"
    conda:
        "../../envs/shoal.yaml"
    params:
        plan=str(plan.plan_file),
        results=str(plan.root),
        on_drift=plan.settings.changes.on_drift,
    shell:
        "shoal pool-publish --plan {params.plan:q} --manifest {input.manifest:q}"
        " --metrics {input.metrics:q} --report {input.report:q} --drift {input.drift:q}"
        " --on-drift {params.on_drift} --results {params.results:q}"
        " --record {output.record:q} &> {log:q}"
