"""The demo's source files, made once where they are missing."""

if plan.demo_is_missing:

    rule demo_data:
        """Write the demo's source files: digits in four orientations."""
        output:
            [str(path) for path, _ in plan.shards.values()],
        log:
            "logs/{}/demo_data.log".format(plan.settings.name),
        localrule: True
        conda:
            "../../envs/shoal.yaml"
        shell:
            "shoal demo-data $(dirname {output[0]:q}) &> {log:q}"
