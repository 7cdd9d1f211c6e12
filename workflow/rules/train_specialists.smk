"""The base, and a search of each partition's grid point: slots that train, and decisions."""


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
    """Train a slot: at a grid point, or as the decision after the step before says."""
    input:
        unpack(plans.inputs("train_specialist")),
    output:
        **plans.carried("train_specialist"),
        model="results/{experiment}/{generation}/specialists/{specialists_id}/{digest}/{step}/{slot}/model.safetensors",
        ledger="results/{experiment}/{generation}/specialists/{specialists_id}/{digest}/{step}/{slot}/ledger.json",
    log:
        "logs/{experiment}/{generation}/train_specialist/{specialists_id}/{digest}/{step}/{slot}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/train_specialist/{specialists_id}/{digest}/{step}/{slot}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.threads
    resources:
        **plans.resources("train_specialist"),
    params:
        settings=plans.run_file,
        threads=plans.threads,
    shell:
        "shoal train-specialist --settings {params.settings:q} --digest {wildcards.digest} --step {wildcards.step} --slot {wildcards.slot}"
        " --threads {params.threads} &> {log:q}"


rule train_pack:
    """Train several slots of one step in one process, each as if alone."""
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
    threads: plans.threads
    resources:
        **plans.resources("train_pack"),
    params:
        settings=plans.run_file,
        threads=plans.threads,
    shell:
        "shoal train-pack --settings {params.settings:q} --pack {wildcards.pack}"
        " --threads {params.threads} &> {log:q}"


rule train_choose:
    """Choose a partition's grid point so far on one half of its validation rows, and what follows."""
    input:
        unpack(plans.inputs("train_choose")),
    output:
        choice="results/{experiment}/{generation}/choices/{choices_id}/{digest}/{step}/{validation}.json",
    log:
        "logs/{experiment}/{generation}/train_choose/{choices_id}/{digest}/{step}/{validation}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/train_choose/{choices_id}/{digest}/{step}/{validation}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.threads
    resources:
        **plans.resources("train_choose"),
    params:
        settings=plans.run_file,
        threads=plans.threads,
    shell:
        "shoal train-choose --settings {params.settings:q} --digest {wildcards.digest} --step {wildcards.step} --validation {wildcards.validation}"
        " --threads {params.threads} &> {log:q}"


rule choose_pack:
    """Make several decisions of one step in one process, each as if alone."""
    input:
        unpack(plans.inputs("choose_pack")),
    output:
        status="results/{experiment}/{generation}/choose_packs/{choices_id}/{pack}.json",
    log:
        "logs/{experiment}/{generation}/choose_pack/{choices_id}/{pack}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/choose_pack/{choices_id}/{pack}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.threads
    resources:
        **plans.resources("choose_pack"),
    params:
        settings=plans.run_file,
        threads=plans.threads,
    shell:
        "shoal choose-pack --settings {params.settings:q} --pack {wildcards.pack}"
        " --threads {params.threads} &> {log:q}"
