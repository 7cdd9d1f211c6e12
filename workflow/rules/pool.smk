"""The deliverable."""


rule pool:
    """Put router, specialists and all fitted state into one folder that needs nothing else."""
    input:
        router=lambda wc: ancient(
            plan(wc).layout.router(plan(wc).index(checkpoints.partition), "router.safetensors")
        ),
        ledgers=lambda wc: ancient(
            plan(wc).awaited_beside_choices(
                checkpoints.partition, plan(wc).pool_ledgers(checkpoints.partition)
            )
        ),
        choices=lambda wc: ancient(plan(wc).choices(plan(wc).index(checkpoints.partition))),
        specialists=lambda wc: ancient(
            plan(wc).awaited_beside_choices(
                checkpoints.partition,
                plan(wc).specialists(plan(wc).index(checkpoints.partition)),
            )
        ),
        columns=lambda wc: ancient(plan(wc).layout.fit("split", "columns.json")),
        transform=lambda wc: ancient(plan(wc).layout.fit("transform", "state.json")),
        encoder=lambda wc: ancient(plan(wc).layout.fit("encode", "encoder.skops")),
        shapes=lambda wc: ancient(plan(wc).layout.fit("encode", "shapes.json")),
        embedder=lambda wc: ancient(plan(wc).layout.fit("embed", "embedder.safetensors")),
        base=lambda wc: ancient(plan(wc).layout.fit("base", "base.safetensors")),
        gate=lambda wc: ancient(plan(wc).layout.gate(plan(wc).index(checkpoints.partition))),
        generalist=lambda wc: ancient(
            plan(wc).baseline(checkpoints.partition, "generalist", "model")
        ),
    output:
        manifest="results/{experiment}/{generation}/pool/{pool_id}/{root}/manifest.json",
    log:
        "logs/{experiment}/{generation}/pool/{pool_id}/{root}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/pool/{pool_id}/{root}.tsv"
    conda:
        "../../envs/shoal.yaml"
    resources:
        **plans.resources("pool", "light"),
    params:
        index=lambda wc, input: plan(wc).layout.index,
        specialists=lambda wc, input: plan(wc).specialists(plan(wc).index(checkpoints.partition)),
        ledgers=lambda wc, input: plan(wc).pool_ledgers(checkpoints.partition),
        failed=lambda wc, input: plan(wc).failed_files(),
        lacks=lambda wc, input: plan(wc).layout.lacks(plan(wc).index(checkpoints.partition)),
        experiment=lambda wc: str(plan(wc).settings_file),
    shell:
        "shoal pool-build --experiment {params.experiment:q} --router {input.router:q}"
        " --pool-ledger {params.ledgers:q} --choice {input.choices:q}"
        " --specialist {params.specialists:q} --index {params.index:q} --failed {params.failed:q} --lacks {params.lacks:q}"
        " --columns {input.columns:q} --transform {input.transform:q}"
        " --encoder {input.encoder:q} --shapes {input.shapes:q} --embedder {input.embedder:q}"
        " --base {input.base:q} --gate {input.gate:q} --generalist {input.generalist:q}"
        " --manifest {output.manifest:q} &> {log:q}"


rule pool_publish:
    """Keep the models; copy pool, metrics and report to where people look for them."""
    input:
        manifest=lambda wc: ancient(
            plan(wc).layout.pool(plan(wc).index(checkpoints.partition), "manifest.json")
        ),
        metrics=lambda wc: ancient(
            plan(wc).layout.evaluation(plan(wc).index(checkpoints.partition), "metrics.json")
        ),
        report=lambda wc: ancient(
            plan(wc).layout.evaluation(plan(wc).index(checkpoints.partition), "report.html")
        ),
        drift=lambda wc: ancient(plan(wc).layout.drift(plan(wc).index(checkpoints.partition))),
    output:
        record="results/{experiment}{variant}/published/{release}.json",
    log:
        "logs/{experiment}/pool_publish{variant}/{release}.log",
    benchmark:
        "results/{experiment}/benchmarks/pool_publish{variant}/{release}.tsv"
    conda:
        "../../envs/shoal.yaml"
    params:
        plan=lambda wc: str(plan(wc).plan_file),
        results=lambda wc: str(plan(wc).home),
        on_drift=lambda wc: plan(wc).settings.changes.on_drift,
    shell:
        "shoal pool-publish --plan {params.plan:q} --manifest {input.manifest:q}"
        " --metrics {input.metrics:q} --report {input.report:q} --drift {input.drift:q}"
        " --on-drift {params.on_drift} --results {params.results:q}"
        " --record {output.record:q} &> {log:q}"
