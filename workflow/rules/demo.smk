"""The demo's source files, made once where they are missing."""

if plans.first.demo_is_missing:

    rule demo_data:
        """Write the demo's source files: digits in four orientations."""
        output:
            tables=[str(path) for path, _ in plans.first.shards.values()],
            names=str(plans.first.demo_names()[0]),
        log:
            "logs/{}/demo_data.log".format(plans.settings.name),
        localrule: True
        conda:
            "../../envs/shoal.yaml"
        params:
            folder=subpath(output.names, parent=True),
        shell:
            "shoal demo-data {params.folder:q} &> {log:q}"
