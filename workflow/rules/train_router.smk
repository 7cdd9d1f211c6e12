"""The switch that sends each row to the right specialist."""


rule train_router:
    """Fit the router on the other half of the validation rows and the specialists' losses."""
    input:
        choices=lambda wc: ancient(plan.choices(plan.index(checkpoints.partition))),
        specialists=lambda wc: ancient(
            plan.awaited(
                checkpoints.partition,
                plan.specialists(plan.index(checkpoints.partition), "model.safetensors"),
            )
        ),
        assigner=ancient(plan.layout.fit("cluster", "assigner.safetensors")),
        embedder=ancient(plan.layout.fit("embed", "embedder.safetensors")),
        shapes=ancient(plan.layout.fit("encode", "shapes.json")),
    output:
        router="results/{experiment}/{generation}/router/{router_id}/{root}/router.safetensors",
        ledger="results/{experiment}/{generation}/router/{router_id}/{root}/ledger.json",
    log:
        "logs/{experiment}/{generation}/train_router/{router_id}/{root}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/train_router/{router_id}/{root}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plan.settings.compute.threads
    resources:
        **plan.resources.of("train_router", "cores"),
    params:
        index=lambda wc, input: plan.layout.index,
        specialists=lambda wc, input: plan.specialists(
            plan.index(checkpoints.partition), "model.safetensors"
        ),
        settings=plan.text("train_router"),
        model=plan.text("model"),
        threads=plan.settings.compute.threads,
    shell:
        "shoal train-router --settings {params.settings:q} --model {params.model:q}"
        " --index {params.index:q} --assigner {input.assigner:q}"
        " --choice {input.choices:q} --specialist {params.specialists:q}"
        " --embedder {input.embedder:q} --shapes {input.shapes:q} --router {output.router:q} --ledger {output.ledger:q}"
        " --threads {params.threads} &> {log:q}"
