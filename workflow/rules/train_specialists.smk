"""The base, then one specialist a partition and grid point, then the choice of grid point."""


rule base_fit:
    """Train the base on every training row: start of every specialist, and the fallback."""
    input:
        rows=plan.layout.rows("encode"),
        shapes=plan.layout.fit("encode", "shapes.json"),
    output:
        base="results/{experiment}/{generation}/base/{base_id}/base.safetensors",
        ledger="results/{experiment}/{generation}/base/{base_id}/ledger.json",
    log:
        "logs/{experiment}/{generation}/base_fit/{base_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/base_fit/{base_id}.tsv"
    wildcard_constraints:
        base_id=plan.unfitted("base"),
    conda:
        "../../envs/shoal.yaml"
    params:
        code=plan.fit_codes["base"],
        model=plan.text("model"),
        training=plan.text("train_specialists"),
        threads=plan.settings.compute.threads,
        seconds=lambda wc, input: plan.settings.compute.checkpoint_seconds,
    shell:
        "shoal base-fit --code {params.code} --model {params.model:q} --training {params.training:q}"
        " --rows {input.rows:q} --shapes {input.shapes:q} --base {output.base:q}"
        " --ledger {output.ledger:q} --threads {params.threads} --checkpoint-seconds {params.seconds} &> {log:q}"


rule train_specialist:
    """Train one specialist on its partition's rows, which the index finds by their digest."""
    input:
        base=ancient(plan.layout.fit("base", "base.safetensors")),
        shapes=ancient(plan.layout.fit("encode", "shapes.json")),
    output:
        model="results/{experiment}/{generation}/specialists/{specialists_id}/{digest}/{point}/model.safetensors",
        ledger="results/{experiment}/{generation}/specialists/{specialists_id}/{digest}/{point}/ledger.json",
    log:
        "logs/{experiment}/{generation}/train_specialist/{specialists_id}/{digest}/{point}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/train_specialist/{specialists_id}/{digest}/{point}.tsv"
    conda:
        "../../envs/shoal.yaml"
    params:
        index=lambda wc, input: plan.layout.index,
        model=plan.text("model"),
        training=plan.text("train_specialists"),
        point=lambda wc: plan.point(wc.point),
        threads=plan.settings.compute.threads,
        seconds=lambda wc, input: plan.settings.compute.checkpoint_seconds,
    shell:
        "shoal train-specialist --model {params.model:q} --training {params.training:q}"
        " --point {params.point:q} --index {params.index:q} --digest {wildcards.digest}"
        " --base {input.base:q} --shapes {input.shapes:q} --out {output.model:q}"
        " --ledger {output.ledger:q} --threads {params.threads} --checkpoint-seconds {params.seconds} &> {log:q}"


rule train_choose:
    """Choose a partition's grid point on one half of its validation rows."""
    input:
        specialists=lambda wc: [ancient(path) for path in plan.points_of(wc.digest)],
        base=ancient(plan.layout.fit("base", "base.safetensors")),
        shapes=ancient(plan.layout.fit("encode", "shapes.json")),
    output:
        choice="results/{experiment}/{generation}/choices/{choices_id}/{digest}/{validation}.json",
    log:
        "logs/{experiment}/{generation}/train_choose/{choices_id}/{digest}/{validation}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/train_choose/{choices_id}/{digest}/{validation}.tsv"
    conda:
        "../../envs/shoal.yaml"
    params:
        index=lambda wc, input: plan.layout.index,
        model=plan.text("model"),
        threads=plan.settings.compute.threads,
    shell:
        "shoal train-choose --model {params.model:q} --index {params.index:q}"
        " --digest {wildcards.digest} --validation {wildcards.validation}"
        " --base {input.base:q} --shapes {input.shapes:q} --specialist {input.specialists:q}"
        " --choice {output.choice:q} --threads {params.threads} &> {log:q}"
