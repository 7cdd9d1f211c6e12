"""The baselines, once a generation, and the test fold, each row once."""


rule evaluate_generalist:
    """Train the base on to the pool's total training FLOPs: the baseline."""
    input:
        unpack(plans.inputs("evaluate_generalist")),
    output:
        model="results/{experiment}/{generation}/baselines/{baselines_id}/{link}/generalist.safetensors",
        ledger="results/{experiment}/{generation}/baselines/{baselines_id}/{link}/generalist.json",
    log:
        "logs/{experiment}/{generation}/evaluate_generalist/{baselines_id}/{link}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/evaluate_generalist/{baselines_id}/{link}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.threads
    resources:
        **plans.resources("evaluate_generalist"),
    params:
        settings=plans.run_file,
        threads=plans.threads,
    shell:
        "shoal evaluate-generalist --settings {params.settings:q}"
        " --threads {params.threads} &> {log:q}"


rule evaluate_random:
    """Train specialists on random partitions of the same sizes, and tables' usual models."""
    input:
        unpack(plans.inputs("evaluate_random")),
    output:
        models="results/{experiment}/{generation}/baselines/{baselines_id}/{basis}/random.safetensors",
        usual="results/{experiment}/{generation}/baselines/{baselines_id}/{basis}/usual.safetensors",
        ledger="results/{experiment}/{generation}/baselines/{baselines_id}/{basis}/random.json",
    log:
        "logs/{experiment}/{generation}/evaluate_random/{baselines_id}/{basis}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/evaluate_random/{baselines_id}/{basis}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.threads
    resources:
        **plans.resources("evaluate_random"),
    params:
        settings=plans.run_file,
        threads=plans.threads,
    shell:
        "shoal evaluate-random --settings {params.settings:q} --threads {params.threads} &> {log:q}"


rule choose_variant:
    """Choose pool and generalist among variants of one question, on validation rows."""
    input:
        gates=plans.gates,
    output:
        choice="results/{experiment}/{generation}/chosen/{chosen_id}.json",
    log:
        "logs/{experiment}/{generation}/choose_variant/{chosen_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/choose_variant/{chosen_id}.tsv"
    conda:
        "../../envs/shoal.yaml"
    params:
        settings=plans.rival_files,
    shell:
        "shoal choose-variant --settings {params.settings:q}"
        " --chosen-id {wildcards.chosen_id} &> {log:q}"


rule evaluate:
    """Score pool and baselines on the test fold, each row once; write verdict and report."""
    input:
        unpack(plans.inputs("evaluate")),
    output:
        metrics="results/{experiment}/{generation}/evaluate/{evaluate_id}/{root}/metrics.json",
        report="results/{experiment}/{generation}/evaluate/{evaluate_id}/{root}/report.html",
        predictions="results/{experiment}/{generation}/evaluate/{evaluate_id}/{root}/predictions.parquet",
    log:
        "logs/{experiment}/{generation}/evaluate/{evaluate_id}/{root}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/evaluate/{evaluate_id}/{root}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.threads
    resources:
        **plans.resources("evaluate"),
    params:
        settings=plans.run_file,
        threads=plans.threads,
        cluster=plans.cluster_option,
    shell:
        "shoal evaluate --settings {params.settings:q} {params.cluster}"
        " --threads {params.threads} &> {log:q}"


rule drift_sample:
    """Draw rows that the generation was fitted on, for rows that arrive to be compared with."""
    input:
        unpack(plans.inputs("drift_sample")),
    output:
        sample="results/{experiment}/{generation}/drift/samples/{sample_id}.safetensors",
    log:
        "logs/{experiment}/{generation}/drift_sample/{sample_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/drift_sample/{sample_id}.tsv"
    conda:
        "../../envs/shoal.yaml"
    resources:
        **plans.resources("drift_sample"),
    params:
        settings=plans.run_file,
    shell:
        "shoal drift-sample --settings {params.settings:q} &> {log:q}"


rule evaluate_drift:
    """Compare the rows with those that the generation was fitted on; recommend what to do."""
    input:
        unpack(plans.inputs("evaluate_drift")),
    output:
        drift="results/{experiment}/{generation}/drift/{drift_id}/{root}.json",
    log:
        "logs/{experiment}/{generation}/evaluate_drift/{drift_id}/{root}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/evaluate_drift/{drift_id}/{root}.tsv"
    conda:
        "../../envs/shoal.yaml"
    resources:
        **plans.resources("evaluate_drift"),
    params:
        settings=plans.run_file,
    shell:
        "shoal evaluate-drift --settings {params.settings:q} &> {log:q}"
