"""What the models say of each partition's rows, for all that compares them."""


rule ask:
    """Ask every model that may answer a row of one partition, and its own about others' rows."""
    input:
        unpack(plans.inputs("ask")),
    output:
        validation="results/{experiment}/{generation}/ask/{ask_id}/{partition}/{rows}/validation.safetensors",
        test="results/{experiment}/{generation}/ask/{ask_id}/{partition}/{rows}/test.safetensors",
        ledger="results/{experiment}/{generation}/ask/{ask_id}/{partition}/{rows}/ledger.json",
    log:
        "logs/{experiment}/{generation}/ask/{ask_id}/{partition}/{rows}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/ask/{ask_id}/{partition}/{rows}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.threads
    resources:
        **plans.resources("ask"),
    params:
        settings=plans.run_file,
        threads=plans.threads,
    shell:
        "shoal ask --settings {params.settings:q} --partition {wildcards.partition} --rows {wildcards.rows}"
        " --threads {params.threads} &> {log:q}"


rule ask_pack:
    """Ask about several partitions' rows in one process, about each as if alone."""
    input:
        unpack(plans.inputs("ask_pack")),
    output:
        status="results/{experiment}/{generation}/ask_packs/{ask_id}/{pack}.json",
    log:
        "logs/{experiment}/{generation}/ask_pack/{ask_id}/{pack}.log",
    benchmark:
        "results/{experiment}/benchmarks/{generation}/ask_pack/{ask_id}/{pack}.tsv"
    conda:
        "../../envs/shoal.yaml"
    threads: plans.threads
    resources:
        **plans.resources("ask_pack"),
    params:
        settings=plans.run_file,
        threads=plans.threads,
    shell:
        "shoal ask-pack --settings {params.settings:q} --pack {wildcards.pack}"
        " --threads {params.threads} &> {log:q}"
