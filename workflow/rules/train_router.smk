"""The switch that sends each row to the right specialist."""


rule train_router:
    """Fit the router on the other half of the validation rows and the specialists' losses."""
    input:
        choices=lambda wc: ancient(plan(wc).choices(plan(wc).index(checkpoints.partition))),
        specialists=lambda wc: ancient(
            plan(wc).awaited_beside_choices(
                checkpoints.partition,
                plan(wc).specialists(plan(wc).index(checkpoints.partition)),
            )
        ),
        assigner=lambda wc: ancient(plan(wc).layout.fit("cluster", "assigner.safetensors")),
        embedder=lambda wc: ancient(plan(wc).layout.fit("embed", "embedder.safetensors")),
        shapes=lambda wc: ancient(plan(wc).layout.fit("encode", "shapes.json")),
    output:
        router="results/{experiment}/{generation}/router/{router_id}/{root}/router.safetensors",
        ledger="results/{experiment}/{generation}/router/{router_id}/{root}/ledger.json",
    log:
        "logs/{experiment}/{generation}/train_router/{router_id}/{root}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/train_router/{router_id}/{root}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.settings.compute.threads
    resources:
        **plans.resources("train_router", "cores"),
    params:
        index=lambda wc, input: plan(wc).layout.index,
        specialists=lambda wc, input: plan(wc).specialists(plan(wc).index(checkpoints.partition)),
        settings=lambda wc: plan(wc).text("train_router"),
        model=plans.first.text("model"),
        threads=plans.settings.compute.threads,
    shell:
        "shoal train-router --settings {params.settings:q} --model {params.model:q}"
        " --index {params.index:q} --assigner {input.assigner:q}"
        " --choice {input.choices:q} --specialist {params.specialists:q}"
        " --embedder {input.embedder:q} --shapes {input.shapes:q} --router {output.router:q} --ledger {output.ledger:q}"
        " --threads {params.threads} &> {log:q}"
