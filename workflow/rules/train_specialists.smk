"""The base, specialists of each partition at grid points, or rung by rung, and the choice of one."""


rule base_fit:
    """Train the base on every training row: start of every specialist, and the fallback."""
    input:
        unpack(plans.inputs("base_fit")),
    output:
        base="results/{experiment}/{generation}/base/{base_id}/base.safetensors",
        ledger="results/{experiment}/{generation}/base/{base_id}/ledger.json",
    log:
        "logs/{experiment}/{generation}/base_fit/{base_id}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/base_fit/{base_id}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.threads
    resources:
        **plans.resources("base_fit"),
    params:
        settings=plans.run_file,
        threads=plans.threads,
    shell:
        "shoal base-fit --settings {params.settings:q} --threads {params.threads} &> {log:q}"


rule train_specialist:
    """Train one specialist on its partition's rows, which the index finds by their digest."""
    input:
        unpack(plans.inputs("train_specialist")),
    output:
        model="results/{experiment}/{generation}/specialists/{specialists_id}/{digest}/{point}/model.safetensors",
        ledger="results/{experiment}/{generation}/specialists/{specialists_id}/{digest}/{point}/ledger.json",
    log:
        "logs/{experiment}/{generation}/train_specialist/{specialists_id}/{digest}/{point}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/train_specialist/{specialists_id}/{digest}/{point}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.settings.compute.threads
    resources:
        **plans.resources("train_specialist", "gpu"),
    params:
        index=lambda wc, input: plan(wc).layout.index,
        model=plans.first.text("model"),
        training=lambda wc: plan(wc).text("train_specialists"),
        point=lambda wc: plan(wc).point(wc.point),
        store=plans.store,
        threads=plans.settings.compute.threads,
        seconds=lambda wc, input: plan(wc).settings.compute.checkpoint_seconds,
    shell:
        "shoal train-specialist --model {params.model:q} --training {params.training:q}"
        " --point {params.point:q} --index {params.index:q} --digest {wildcards.digest}"
        " --base {input.base:q} --shapes {input.shapes:q} --out {output.model:q}"
        " --ledger {output.ledger:q} --store {params.store:q} --threads {params.threads} --checkpoint-seconds {params.seconds} &> {log:q}"


rule train_pack:
    """Train several specialists in one process, one after the other, each as if alone."""
    input:
        unpack(plans.inputs("train_pack")),
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
        grid=plans.first.grid_text(),
        specialists=lambda wc: plan(wc).layout.specialists,
        logs=lambda wc: plan(wc).specialist_logs,
        store=plans.store,
        threads=plans.settings.compute.threads,
        seconds=lambda wc, input: plan(wc).settings.compute.checkpoint_seconds,
    shell:
        "shoal train-pack --members {params.members:q} --model {params.model:q}"
        " --training {params.training:q} --grid {params.grid:q} --index {params.index:q}"
        " --base {input.base:q} --shapes {input.shapes:q} --specialists {params.specialists:q}"
        " --logs {params.logs:q} --status {output.status:q} --store {params.store:q}"
        " --threads {params.threads}"
        " --checkpoint-seconds {params.seconds} &> {log:q}"


rule train_rung:
    """Train a point until its rung ends: a grid point, or one that the ranking before lets go on."""
    input:
        unpack(plans.inputs("train_rung")),
    output:
        model="results/{experiment}/{generation}/rungs/{rungs_id}/{digest}/{rung}/{slot}/model.safetensors",
        state="results/{experiment}/{generation}/rungs/{rungs_id}/{digest}/{rung}/{slot}/state.safetensors",
        ledger="results/{experiment}/{generation}/rungs/{rungs_id}/{digest}/{rung}/{slot}/ledger.json",
    log:
        "logs/{experiment}/{generation}/train_rung/{rungs_id}/{digest}/{rung}/{slot}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/train_rung/{rungs_id}/{digest}/{rung}/{slot}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.settings.compute.threads
    resources:
        **plans.resources("train_rung", "gpu"),
    params:
        index=lambda wc, input: plan(wc).layout.index,
        model=plans.first.text("model"),
        training=lambda wc: plan(wc).text("train_specialists"),
        point=lambda wc: plan(wc).slot_point(wc.slot),
        divisors=lambda wc: plan(wc).divisors(wc.rung),
        threads=plans.settings.compute.threads,
        seconds=lambda wc, input: plan(wc).settings.compute.checkpoint_seconds,
    shell:
        "shoal train-rung --model {params.model:q} --training {params.training:q}"
        " --point {params.point:q} --divisors {params.divisors:q} --slot {wildcards.slot}"
        " --ranking {input.ranking:q} --begun {input.begun:q}"
        " --index {params.index:q} --digest {wildcards.digest} --base {input.base:q}"
        " --shapes {input.shapes:q} --out {output.model:q} --state {output.state:q}"
        " --ledger {output.ledger:q} --threads {params.threads} --checkpoint-seconds {params.seconds} &> {log:q}"


rule train_rank:
    """Rank a rung's points on one half of the partition's validation rows."""
    input:
        unpack(plans.inputs("train_rank")),
    output:
        ranking="results/{experiment}/{generation}/rungs/{choices_id}/{digest}/{rung}/{validation}.json",
    log:
        "logs/{experiment}/{generation}/train_rank/{choices_id}/{digest}/{rung}/{validation}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/train_rank/{choices_id}/{digest}/{rung}/{validation}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.settings.compute.threads
    resources:
        **plans.resources("train_rank", "light"),
    params:
        index=lambda wc, input: plan(wc).layout.index,
        model=plans.first.text("model"),
        threads=plans.settings.compute.threads,
    shell:
        "shoal train-rank --model {params.model:q} --index {params.index:q}"
        " --digest {wildcards.digest} --validation {wildcards.validation}"
        " --base {input.base:q} --shapes {input.shapes:q} --specialist {input.specialists:q}"
        " --ranking {output.ranking:q} --threads {params.threads} &> {log:q}"


rule train_propose:
    """Propose a partition's next points, by what others lose on one half of its validation rows."""
    input:
        unpack(plans.inputs("train_propose")),
    output:
        proposals="results/{experiment}/{generation}/trials/{proposals_id}/{digest}/{batch}/{validation}.json",
    log:
        "logs/{experiment}/{generation}/train_propose/{proposals_id}/{digest}/{batch}/{validation}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/train_propose/{proposals_id}/{digest}/{batch}/{validation}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.settings.compute.threads
    resources:
        **plans.resources("train_propose", "light"),
    params:
        index=lambda wc, input: plan(wc).layout.index,
        model=plans.first.text("model"),
        proposing=plans.first.proposing_text(),
        threads=plans.settings.compute.threads,
    shell:
        "shoal train-propose --model {params.model:q} --proposing {params.proposing:q}"
        " --before {input.before:q} --index {params.index:q}"
        " --digest {wildcards.digest} --validation {wildcards.validation}"
        " --base {input.base:q} --shapes {input.shapes:q} --specialist {input.specialists:q}"
        " --proposals {output.proposals:q} --threads {params.threads} &> {log:q}"


rule train_trial:
    """Train a specialist at a grid point that was drawn first, or that proposals say."""
    input:
        unpack(plans.inputs("train_trial")),
    output:
        model="results/{experiment}/{generation}/trials/{trials_id}/{digest}/{batch}/{slot}/model.safetensors",
        ledger="results/{experiment}/{generation}/trials/{trials_id}/{digest}/{batch}/{slot}/ledger.json",
    log:
        "logs/{experiment}/{generation}/train_trial/{trials_id}/{digest}/{batch}/{slot}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/train_trial/{trials_id}/{digest}/{batch}/{slot}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.settings.compute.threads
    resources:
        **plans.resources("train_trial", "gpu"),
    params:
        index=lambda wc, input: plan(wc).layout.index,
        model=plans.first.text("model"),
        training=lambda wc: plan(wc).text("train_specialists"),
        point=lambda wc: plan(wc).slot_point(wc.slot),
        threads=plans.settings.compute.threads,
        seconds=lambda wc, input: plan(wc).settings.compute.checkpoint_seconds,
    shell:
        "shoal train-trial --model {params.model:q} --training {params.training:q}"
        " --point {params.point:q} --slot {wildcards.slot} --proposals {input.proposals:q}"
        " --index {params.index:q} --digest {wildcards.digest} --base {input.base:q}"
        " --shapes {input.shapes:q} --out {output.model:q} --ledger {output.ledger:q}"
        " --threads {params.threads} --checkpoint-seconds {params.seconds} &> {log:q}"


rule train_choose:
    """Choose a partition's grid point on one half of its validation rows."""
    input:
        unpack(plans.inputs("train_choose")),
    output:
        choice="results/{experiment}/{generation}/choices/{choices_id}/{digest}/{validation}.json",
    log:
        "logs/{experiment}/{generation}/train_choose/{choices_id}/{digest}/{validation}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/train_choose/{choices_id}/{digest}/{validation}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.settings.compute.threads
    resources:
        **plans.resources("train_choose", "light"),
    params:
        index=lambda wc, input: plan(wc).layout.index,
        specialists=lambda wc, input: plan(wc).candidates(wc.digest, wc.validation),
        model=plans.first.text("model"),
        threads=plans.settings.compute.threads,
    shell:
        "shoal train-choose --model {params.model:q} --index {params.index:q}"
        " --digest {wildcards.digest} --validation {wildcards.validation}"
        " --base {input.base:q} --shapes {input.shapes:q} --specialist {params.specialists:q}"
        " --choice {output.choice:q} --threads {params.threads} &> {log:q}"
