"""The gate that does no harm: where specialists do not beat the generalist, it answers."""


rule gate:
    """Give each specialist its share of the answers, and the generalist the rest."""
    input:
        unpack(plans.inputs("gate")),
    output:
        gate="results/{experiment}/{generation}/gate/{gate_id}/{root}.json",
    log:
        "logs/{experiment}/{generation}/gate/{gate_id}/{root}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/gate/{gate_id}/{root}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.threads
    resources:
        **plans.resources("gate"),
    params:
        settings=plans.run_file,
        threads=plans.threads,
    shell:
        "shoal gate --settings {params.settings:q} --threads {params.threads} &> {log:q}"
