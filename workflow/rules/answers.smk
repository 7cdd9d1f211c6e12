"""What the choices did, once every variant is published."""


rule answers:
    """Compare variants, hyperparameters and seeds: tables, plots and a page."""
    input:
        releases=lambda wc: [ancient(path) for path in plans.releases()],
    output:
        record="results/{experiment}/answers/published/{answers_id}.json",
    log:
        "logs/{experiment}/answers/{answers_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/answers/{answers_id}.tsv"
    conda:
        "../../envs/shoal.yaml"
    params:
        plans=lambda wc: plans.plan_files(),
        folder=subpath(output.record, ancestor=2),
    shell:
        "shoal answers --plan {params.plans:q} --folder {params.folder:q}"
        " --record {output.record:q} &> {log:q}"
