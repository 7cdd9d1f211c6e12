"""The switch that sends each row to the right specialist."""


rule train_router:
    """Fit the router on the other half of the validation rows and the specialists' losses."""
    input:
        unpack(plans.inputs("train_router")),
    output:
        router="results/{experiment}/{generation}/router/{router_id}/{root}/router.safetensors",
        ledger="results/{experiment}/{generation}/router/{router_id}/{root}/ledger.json",
    log:
        "logs/{experiment}/{generation}/train_router/{router_id}/{root}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/train_router/{router_id}/{root}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.threads
    resources:
        **plans.resources("train_router"),
    params:
        settings=plans.run_file,
        threads=plans.threads,
    shell:
        "shoal train-router --settings {params.settings:q} --threads {params.threads} &> {log:q}"
