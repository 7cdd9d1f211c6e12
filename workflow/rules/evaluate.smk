"""The baselines, once a generation, and the test fold, each row once."""


rule evaluate_generalist:
    """Train the base on to the pool's total training FLOPs: the baseline."""
    input:
        rows=plan.rows("encode"),
        index=plan.frozen("cluster", "index.json"),
        base=plan.frozen("base", "base.safetensors"),
        shapes=plan.frozen("encode", "shapes.json"),
        ledgers=lambda wc: plan.pool_ledgers(checkpoints.partition),
    output:
        model="results/{experiment}/{generation}/baselines/{baselines_id}/generalist.safetensors",
        ledger="results/{experiment}/{generation}/baselines/{baselines_id}/generalist.json",
    log:
        "logs/{experiment}/{generation}/evaluate_generalist/{baselines_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/evaluate_generalist/{baselines_id}.tsv"
    wildcard_constraints:
        baselines_id=plan.unfitted("baselines", "generalist.safetensors", "generalist.json"),
    conda:
        "../../envs/shoal.yaml"
    params:
        model=plan.text("model"),
        training=plan.text("train_specialists"),
        grid=plan.grid_text(),
        threads=plan.settings.compute.threads,
    shell:
        "shoal evaluate-generalist --model {params.model:q} --training {params.training:q}"
        " --grid {params.grid:q} --rows {input.rows:q} --index {input.index:q}"
        " --base {input.base:q} --shapes {input.shapes:q}"
        " --pool-ledger {input.ledgers:q} --out {output.model:q} --ledger {output.ledger:q}"
        " --threads {params.threads} &> {log:q}"


rule evaluate_random:
    """Train specialists on random partitions of the same sizes: the other baseline."""
    input:
        rows=plan.rows("encode"),
        index=plan.frozen("cluster", "index.json"),
        base=plan.frozen("base", "base.safetensors"),
        shapes=plan.frozen("encode", "shapes.json"),
        base_ledger=plan.frozen("base", "ledger.json"),
    output:
        models="results/{experiment}/{generation}/baselines/{baselines_id}/random.safetensors",
        ledger="results/{experiment}/{generation}/baselines/{baselines_id}/random.json",
    log:
        "logs/{experiment}/{generation}/evaluate_random/{baselines_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/evaluate_random/{baselines_id}.tsv"
    wildcard_constraints:
        baselines_id=plan.unfitted("baselines", "random.safetensors", "random.json"),
    conda:
        "../../envs/shoal.yaml"
    params:
        model=plan.text("model"),
        training=plan.text("train_specialists"),
        grid=plan.grid_text(),
        seed=plan.settings.evaluate.seed,
        threads=plan.settings.compute.threads,
    shell:
        "shoal evaluate-random --model {params.model:q} --training {params.training:q}"
        " --grid {params.grid:q} --seed {params.seed} --rows {input.rows:q}"
        " --index {input.index:q} --base {input.base:q} --shapes {input.shapes:q}"
        " --base-ledger {input.base_ledger:q} --out {output.models:q} --ledger {output.ledger:q}"
        " --threads {params.threads} &> {log:q}"


rule evaluate:
    """Score pool and baselines on the test fold, each row once; write verdict and report."""
    input:
        pool=lambda wc: plan.pool(plan.index(checkpoints.partition), "manifest.json"),
        ledgers=lambda wc: plan.pool_ledgers(checkpoints.partition),
        choices=lambda wc: plan.choices(plan.index(checkpoints.partition)),
        generalist=ancient(plan.frozen("baselines", "generalist.safetensors")),
        generalist_ledger=ancient(plan.frozen("baselines", "generalist.json")),
        random=ancient(plan.frozen("baselines", "random.safetensors")),
        random_ledger=ancient(plan.frozen("baselines", "random.json")),
        index=ancient(plan.frozen("cluster", "index.json")),
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
    params:
        code=plan.model_code("evaluate.command"),
        settings=plan.text("evaluate"),
        tables=[str(path) for path in plan.rows("transform")],
        experiment=str(plan.settings_file),
        threads=plan.settings.compute.threads,
    shell:
        "shoal evaluate --settings {params.settings:q} --experiment {params.experiment:q}"
        " --pool {input.pool:q} --index {input.index:q} --choice {input.choices:q}"
        " --pool-ledger {input.ledgers:q} --table {params.tables:q}"
        " --generalist {input.generalist:q} --generalist-ledger {input.generalist_ledger:q}"
        " --random {input.random:q} --random-ledger {input.random_ledger:q}"
        " --metrics {output.metrics:q} --report {output.report:q}"
        " --predictions {output.predictions:q} --threads {params.threads} &> {log:q}"
