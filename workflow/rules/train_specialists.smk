"""The base, and a search of each partition's grid point: slots that train, and decisions."""


rule base_fit:
    """Train the base on every training row: start of every specialist, and the fallback."""
    input:
        rows=lambda wc: plan(wc).layout.rows("encode"),
        shapes=lambda wc: plan(wc).layout.fit("encode", "shapes.json"),
    output:
        base="results/{experiment}/{generation}/base/{base_id}/base.safetensors",
        ledger="results/{experiment}/{generation}/base/{base_id}/ledger.json",
    log:
        "logs/{experiment}/{generation}/base_fit/{base_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/base_fit/{base_id}.tsv"
    wildcard_constraints:
        base_id=plans.unfitted("base"),
    conda:
        "../../envs/shoal.yaml"
    threads: plans.settings.compute.threads
    resources:
        **plans.resources("base_fit", "large"),
    params:
        code=lambda wc: plan(wc).fit_codes["base"],
        model=plans.first.text("model"),
        training=lambda wc: plan(wc).text("train_specialists"),
        threads=plans.settings.compute.threads,
        seconds=lambda wc, input: plan(wc).settings.compute.checkpoint_seconds,
    shell:
        "shoal base-fit --code {params.code} --model {params.model:q} --training {params.training:q}"
        " --rows {input.rows:q} --shapes {input.shapes:q} --base {output.base:q}"
        " --ledger {output.ledger:q} --threads {params.threads} --checkpoint-seconds {params.seconds} &> {log:q}"


rule train_specialist:
    """Train a slot: at a grid point, or as the decision after the step before says."""
    input:
        decision=lambda wc: ancient(plan(wc).inputs_before(wc)[0]),
        states=lambda wc: ancient(plan(wc).inputs_before(wc)[1]),
        base=lambda wc: ancient(plan(wc).layout.fit("base", "base.safetensors")),
        shapes=lambda wc: ancient(plan(wc).layout.fit("encode", "shapes.json")),
    output:
        **plans.states,
        model="results/{experiment}/{generation}/specialists/{specialists_id}/{digest}/{step}/{slot}/model.safetensors",
        ledger="results/{experiment}/{generation}/specialists/{specialists_id}/{digest}/{step}/{slot}/ledger.json",
    log:
        "logs/{experiment}/{generation}/train_specialist/{specialists_id}/{digest}/{step}/{slot}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/train_specialist/{specialists_id}/{digest}/{step}/{slot}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.settings.compute.threads
    resources:
        **plans.resources("train_specialist", "gpu"),
    params:
        index=lambda wc, input: plan(wc).layout.index,
        model=plans.first.text("model"),
        training=lambda wc: plan(wc).text("train_specialists"),
        search=plans.first.steps.as_text(),
        point=lambda wc: plan(wc).point(wc.slot),
        store=plans.store,
        made_of=lambda wc: plan(wc).layout.made["specialists"],
        threads=plans.settings.compute.threads,
        seconds=lambda wc, input: plan(wc).settings.compute.checkpoint_seconds,
    shell:
        "shoal train-specialist --model {params.model:q} --training {params.training:q}"
        " --search {params.search:q} --step {wildcards.step} --slot {wildcards.slot}"
        " --point {params.point:q} --decision {input.decision:q} --state {input.states:q}"
        " --index {params.index:q} --digest {wildcards.digest}"
        " --base {input.base:q} --shapes {input.shapes:q} --out {output.model:q}"
        " --ledger {output.ledger:q} --store {params.store:q} --made-of {params.made_of} --threads {params.threads} --checkpoint-seconds {params.seconds} &> {log:q}"


rule train_pack:
    """Train several slots of one step in one process, one after the other, each as if alone."""
    input:
        before=lambda wc: ancient(plan(wc).pack_inputs(checkpoints.partition, wc.pack)),
        base=lambda wc: ancient(plan(wc).layout.fit("base", "base.safetensors")),
        shapes=lambda wc: ancient(plan(wc).layout.fit("encode", "shapes.json")),
    output:
        status="results/{experiment}/{generation}/packs/{specialists_id}/{pack}.json",
    log:
        "logs/{experiment}/{generation}/train_pack/{specialists_id}/{pack}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/train_pack/{specialists_id}/{pack}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.settings.compute.threads
    resources:
        **plans.resources("train_pack", "gpu"),
    params:
        members=lambda wc: plan(wc).layout.pack_members(wc.pack),
        index=lambda wc, input: plan(wc).layout.index,
        model=plans.first.text("model"),
        training=lambda wc: plan(wc).text("train_specialists"),
        search=plans.first.steps.as_text(),
        logs="logs/{experiment}/{generation}/train_specialist",
        store=plans.store,
        made_of=lambda wc: plan(wc).layout.made["specialists"],
        threads=plans.settings.compute.threads,
        seconds=lambda wc, input: plan(wc).settings.compute.checkpoint_seconds,
    shell:
        "shoal train-pack --members {params.members:q} --model {params.model:q}"
        " --training {params.training:q} --search {params.search:q} --index {params.index:q}"
        " --base {input.base:q} --shapes {input.shapes:q}"
        " --logs {params.logs:q} --status {output.status:q} --store {params.store:q}"
        " --made-of {params.made_of}"
        " --threads {params.threads}"
        " --checkpoint-seconds {params.seconds} &> {log:q}"


rule train_choose:
    """Choose a partition's grid point so far on one half of its validation rows, and what follows."""
    input:
        specialists=lambda wc: ancient(
            plan(wc).awaited(checkpoints.partition, plan(wc).compared(wc))
        ),
        base=lambda wc: ancient(plan(wc).layout.fit("base", "base.safetensors")),
        shapes=lambda wc: ancient(plan(wc).layout.fit("encode", "shapes.json")),
    output:
        choice="results/{experiment}/{generation}/choices/{choices_id}/{digest}/{step}/{validation}.json",
    log:
        "logs/{experiment}/{generation}/train_choose/{choices_id}/{digest}/{step}/{validation}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/train_choose/{choices_id}/{digest}/{step}/{validation}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.settings.compute.threads
    resources:
        **plans.resources("train_choose", "light"),
    params:
        specialists=lambda wc, input: plan(wc).compared(wc),
        index=lambda wc, input: plan(wc).layout.index,
        model=plans.first.text("model"),
        search=plans.first.steps.as_text(),
        threads=plans.settings.compute.threads,
    shell:
        "shoal train-choose --model {params.model:q} --search {params.search:q} --step {wildcards.step}"
        " --index {params.index:q} --digest {wildcards.digest} --validation {wildcards.validation}"
        " --base {input.base:q} --shapes {input.shapes:q} --specialist {params.specialists:q}"
        " --choice {output.choice:q} --threads {params.threads} &> {log:q}"
