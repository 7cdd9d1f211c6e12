"""The gate that does no harm: where a specialist has not beaten the generalist, it answers."""


rule gate:
    """Test each specialist against the generalist on validation rows."""
    input:
        choices=lambda wc: ancient(plan(wc).choices(plan(wc).index(checkpoints.partition))),
        specialists=lambda wc: ancient(
            plan(wc).awaited_beside_choices(
                checkpoints.partition,
                plan(wc).specialists(plan(wc).index(checkpoints.partition)),
            )
        ),
        generalist=lambda wc: ancient(
            plan(wc).baseline(checkpoints.partition, "generalist", "model")
        ),
        base=lambda wc: ancient(plan(wc).layout.fit("base", "base.safetensors")),
        assigner=lambda wc: ancient(plan(wc).layout.fit("cluster", "assigner.safetensors")),
        shapes=lambda wc: ancient(plan(wc).layout.fit("encode", "shapes.json")),
    output:
        gate="results/{experiment}/{generation}/gate/{gate_id}/{root}.json",
    log:
        "logs/{experiment}/{generation}/gate/{gate_id}/{root}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/gate/{gate_id}/{root}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.settings.compute.threads
    resources:
        **plans.resources("gate", "cores"),
    params:
        index=lambda wc, input: plan(wc).layout.index,
        specialists=lambda wc, input: plan(wc).specialists(plan(wc).index(checkpoints.partition)),
        settings=plans.first.text("gate"),
        routing=lambda wc: plan(wc).text("train_router"),
        model=plans.first.text("model"),
        threads=plans.settings.compute.threads,
    shell:
        "shoal gate --settings {params.settings:q} --routing {params.routing:q}"
        " --model {params.model:q} --index {params.index:q} --assigner {input.assigner:q}"
        " --shapes {input.shapes:q} --base {input.base:q} --generalist {input.generalist:q}"
        " --choice {input.choices:q} --specialist {params.specialists:q} --out {output.gate:q}"
        " --threads {params.threads} &> {log:q}"
