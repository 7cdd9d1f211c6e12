"""The demo's source files, made once where they are missing."""

if plan.demo_is_missing:

    rule demo_data:
        """Write the demo's source files: digits in four orientations."""
        output:
            [str(path) for path, _ in plan.shards.values()],
        log:
            "logs/{}/demo_data.log".format(plan.settings.name),
        conda:
            "../../envs/shoal.yaml"
        params:
            folder=str(plan.source(next(iter(plan.shards))).parent),
        shell:
            "shoal demo-data {params.folder:q} &> {log:q}"
