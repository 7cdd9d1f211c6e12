"""What the choices did, once every variant is published."""


rule answers:
    """Compare variants, hyperparameters and seeds: tables, plots and a page."""
    input:
        releases=plans.releases,
    output:
        record="results/{experiment}/answers/published/{answers_id}.json",
    log:
        "logs/{experiment}/answers/{answers_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/answers/{answers_id}.tsv"
    conda:
        "../../envs/shoal.yaml"
    params:
        settings=plans.run_files,
    shell:
        "shoal answers --settings {params.settings:q}"
        " --answers-id {wildcards.answers_id} &> {log:q}"
