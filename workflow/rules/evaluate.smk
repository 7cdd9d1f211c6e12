"""The baselines, once a generation, and the test fold, each row once."""


rule evaluate_generalist:
    """Train the base on to the pool's total training FLOPs: the baseline."""
    input:
        rows=lambda wc: plan(wc).layout.rows("encode"),
        index=lambda wc: plan(wc).layout.index,
        base=lambda wc: plan(wc).layout.fit("base", "base.safetensors"),
        shapes=lambda wc: plan(wc).layout.fit("encode", "shapes.json"),
        ledgers=lambda wc: plan(wc).awaited_beside_choices(
            checkpoints.partition, plan(wc).pool_ledgers(checkpoints.partition)
        ),
    output:
        model="results/{experiment}/{generation}/baselines/{baselines_id}/{basis}/generalist.safetensors",
        ledger="results/{experiment}/{generation}/baselines/{baselines_id}/{basis}/generalist.json",
    log:
        "logs/{experiment}/{generation}/evaluate_generalist/{baselines_id}/{basis}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/evaluate_generalist/{baselines_id}/{basis}.tsv"
    wildcard_constraints:
        baselines_id=plans.untrained("evaluate_generalist"),
        basis=plans.untrained_basis("evaluate_generalist"),
    conda:
        "../../envs/shoal.yaml"
    threads: plans.settings.compute.threads
    resources:
        **plans.resources("evaluate_generalist", "large"),
    params:
        code=lambda wc: plan(wc).fit_codes["baselines"],
        model=plans.first.text("model"),
        training=lambda wc: plan(wc).text("train_specialists"),
        grid=plans.first.grid_text(),
        search=plans.first.steps.as_text(),
        ledgers=lambda wc, input: plan(wc).pool_ledgers(checkpoints.partition),
        threads=plans.settings.compute.threads,
        seconds=lambda wc, input: plan(wc).settings.compute.checkpoint_seconds,
    shell:
        "shoal evaluate-generalist --code {params.code} --model {params.model:q} --training {params.training:q}"
        " --grid {params.grid:q} --search {params.search:q}"
        " --rows {input.rows:q} --index {input.index:q}"
        " --base {input.base:q} --shapes {input.shapes:q}"
        " --pool-ledger {params.ledgers:q} --out {output.model:q} --ledger {output.ledger:q}"
        " --threads {params.threads} --checkpoint-seconds {params.seconds} &> {log:q}"


rule evaluate_random:
    """Train specialists on random partitions of the same sizes: the other baseline."""
    input:
        rows=lambda wc: plan(wc).layout.rows("encode"),
        index=lambda wc: plan(wc).layout.index,
        base=lambda wc: plan(wc).layout.fit("base", "base.safetensors"),
        shapes=lambda wc: plan(wc).layout.fit("encode", "shapes.json"),
        base_ledger=lambda wc: plan(wc).layout.fit("base", "ledger.json"),
    output:
        models="results/{experiment}/{generation}/baselines/{baselines_id}/{basis}/random.safetensors",
        ledger="results/{experiment}/{generation}/baselines/{baselines_id}/{basis}/random.json",
    log:
        "logs/{experiment}/{generation}/evaluate_random/{baselines_id}/{basis}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/evaluate_random/{baselines_id}/{basis}.tsv"
    wildcard_constraints:
        baselines_id=plans.untrained("evaluate_random"),
        basis=plans.untrained_basis("evaluate_random"),
    conda:
        "../../envs/shoal.yaml"
    threads: plans.settings.compute.threads
    resources:
        **plans.resources("evaluate_random", "gpu"),
    params:
        code=lambda wc: plan(wc).fit_codes["baselines"],
        model=plans.first.text("model"),
        training=lambda wc: plan(wc).text("train_specialists"),
        grid=plans.first.grid_text(),
        search=plans.first.steps.as_text(),
        seed=lambda wc: plan(wc).settings.evaluate.seed,
        threads=plans.settings.compute.threads,
        seconds=lambda wc, input: plan(wc).settings.compute.checkpoint_seconds,
    shell:
        "shoal evaluate-random --code {params.code} --model {params.model:q} --training {params.training:q}"
        " --grid {params.grid:q} --search {params.search:q}"
        " --seed {params.seed} --rows {input.rows:q}"
        " --index {input.index:q} --base {input.base:q} --shapes {input.shapes:q}"
        " --base-ledger {input.base_ledger:q} --out {output.models:q} --ledger {output.ledger:q}"
        " --threads {params.threads} --checkpoint-seconds {params.seconds} &> {log:q}"


rule evaluate:
    """Score pool and baselines on the test fold, each row once; write verdict and report."""
    input:
        pool=lambda wc: ancient(
            plan(wc).layout.pool(plan(wc).index(checkpoints.partition), "manifest.json")
        ),
        ledgers=lambda wc: ancient(
            plan(wc).awaited_beside_choices(
                checkpoints.partition, plan(wc).pool_ledgers(checkpoints.partition)
            )
        ),
        choices=lambda wc: ancient(plan(wc).choices(plan(wc).index(checkpoints.partition))),
        gate=lambda wc: ancient(plan(wc).layout.gate(plan(wc).index(checkpoints.partition))),
        generalist=lambda wc: ancient(
            plan(wc).baseline(checkpoints.partition, "generalist", "model")
        ),
        generalist_ledger=lambda wc: ancient(
            plan(wc).baseline(checkpoints.partition, "generalist", "ledger")
        ),
        random=lambda wc: ancient(plan(wc).baseline(checkpoints.partition, "random", "model")),
        random_ledger=lambda wc: ancient(
            plan(wc).baseline(checkpoints.partition, "random", "ledger")
        ),
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
    threads: plans.settings.compute.threads
    resources:
        **plans.resources("evaluate", "cores"),
    params:
        settings=lambda wc: plan(wc).text("evaluate"),
        index=lambda wc, input: plan(wc).layout.index,
        ledgers=lambda wc, input: plan(wc).pool_ledgers(checkpoints.partition),
        tables=lambda wc, input: plan(wc).layout.rows("transform"),
        check=lambda wc, input: plan(wc).layout.check,
        cluster=lambda wc, input: plan(wc).cluster_pages(),
        answers=lambda wc, input: link_to_answers(plan(wc)),
        experiment=lambda wc: str(plan(wc).settings_file),
        threads=plans.settings.compute.threads,
    shell:
        "shoal evaluate --settings {params.settings:q} --experiment {params.experiment:q}"
        " --pool {input.pool:q} --index {params.index:q} --choice {input.choices:q}"
        " --pool-ledger {params.ledgers:q} {input.gate:q} --table {params.tables:q}"
        " --check {params.check:q}"
        " --generalist {input.generalist:q} --generalist-ledger {input.generalist_ledger:q}"
        " --random {input.random:q} --random-ledger {input.random_ledger:q}"
        " --metrics {output.metrics:q} --report {output.report:q}"
        " --predictions {output.predictions:q} --cluster {params.cluster:q}"
        " --answers {params.answers:q}"
        " --threads {params.threads} &> {log:q}"


rule evaluate_drift:
    """Compare the rows with those that the generation was fitted on; recommend what to do."""
    input:
        router=lambda wc: ancient(
            plan(wc).layout.router(plan(wc).index(checkpoints.partition), "router.safetensors")
        ),
        choices=lambda wc: ancient(plan(wc).choices(plan(wc).index(checkpoints.partition))),
    output:
        drift="results/{experiment}/{generation}/drift/{drift_id}/{root}.json",
    log:
        "logs/{experiment}/{generation}/evaluate_drift/{drift_id}/{root}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/evaluate_drift/{drift_id}/{root}.tsv"
    conda:
        "../../envs/shoal.yaml"
    resources:
        **plans.resources("evaluate_drift", "light"),
    params:
        settings=lambda wc: plan(wc).drift_text(),
        index=lambda wc, input: plan(wc).layout.index,
        basis=lambda wc, input: plan(wc).basis_stores(),
        choices_before=lambda wc, input: plan(wc).choices_at_fit(),
    shell:
        "shoal evaluate-drift --settings {params.settings:q} --index {params.index:q}"
        " --basis {params.basis:q} --router {input.router:q} --choice {input.choices:q}"
        " --choice-before {params.choices_before:q} --out {output.drift:q} &> {log:q}"
