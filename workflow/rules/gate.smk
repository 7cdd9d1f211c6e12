"""The gate that does no harm: where a specialist has not beaten the generalist, it answers."""


rule gate:
    """Test each specialist against the generalist on validation rows."""
    input:
        choices=lambda wc: ancient(plan.choices(plan.index(checkpoints.partition))),
        specialists=lambda wc: ancient(
            plan.awaited(
                checkpoints.partition,
                plan.specialists(plan.index(checkpoints.partition), "model.safetensors"),
            )
        ),
        generalist=lambda wc: ancient(plan.baseline(checkpoints.partition, "generalist", "model")),
        base=ancient(plan.layout.fit("base", "base.safetensors")),
        assigner=ancient(plan.layout.fit("cluster", "assigner.safetensors")),
        shapes=ancient(plan.layout.fit("encode", "shapes.json")),
    output:
        gate="results/{experiment}/{generation}/gate/{gate_id}/{root}.json",
    log:
        "logs/{experiment}/{generation}/gate/{gate_id}/{root}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/gate/{gate_id}/{root}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plan.settings.compute.threads
    resources:
        **plan.resources.of("gate", "cores"),
    params:
        index=lambda wc, input: plan.layout.index,
        specialists=lambda wc, input: plan.specialists(
            plan.index(checkpoints.partition), "model.safetensors"
        ),
        settings=plan.text("gate"),
        routing=plan.text("train_router"),
        model=plan.text("model"),
        threads=plan.settings.compute.threads,
    shell:
        "shoal gate --settings {params.settings:q} --routing {params.routing:q}"
        " --model {params.model:q} --index {params.index:q} --assigner {input.assigner:q}"
        " --shapes {input.shapes:q} --base {input.base:q} --generalist {input.generalist:q}"
        " --choice {input.choices:q} --specialist {params.specialists:q} --out {output.gate:q}"
        " --threads {params.threads} &> {log:q}"
