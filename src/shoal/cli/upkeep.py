"""Commands that people call about a run before it happens: plan, variants, refit."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from shoal.cli.options import Experiment, Overrides, experiment_at, project_plan, project_plans


def plan(
    experiment: Experiment = "demo",
    overrides: Overrides = [],  # noqa: B006 - typer reads the default, nobody changes it
    profile: Annotated[
        str | None, typer.Option(help="Snakemake profile for the stages that a plan needs")
    ] = None,
    cores: Annotated[str, typer.Option(help="number of cores for them, or all")] = "all",
    as_json: Annotated[
        bool, typer.Option("--json", help="print one JSON document for programs")
    ] = False,
) -> None:
    """Say what a run would do, why, and what it would cost; bring the partition index up to date.

    Applies the fitted generation to new rows if there are any, which is cheap; trains nothing.
    """
    from shoal.operate.plan_report import plan_document

    planned = project_plan(experiment, overrides)
    document = plan_document(planned, profile, cores)
    if as_json:
        typer.echo(json.dumps(document, indent=1, allow_nan=False))
        return
    from rich.console import Console

    from shoal.operate.plan_text import plan_text

    Console().print(plan_text(document, planned.command("refit")))


def variants(
    experiment: Annotated[
        str, typer.Argument(help="name in config/experiment, or a file like those there")
    ] = "demo",
    overrides: Overrides = [],  # noqa: B006 - typer reads the default, nobody changes it
    as_json: Annotated[
        bool, typer.Option("--json", help="print one JSON document for programs")
    ] = False,
) -> None:
    """Print the grid over how data is processed, and what it would cost; runs nothing."""
    from shoal.operate.variants_command import variants_document

    with experiment_at(experiment) as (name, config):
        document = variants_document(project_plans(name, overrides, config))
    if as_json:
        typer.echo(json.dumps(document, indent=1, allow_nan=False))
        return
    from rich.console import Console

    from shoal.operate.variants_command import variants_text

    Console().print(variants_text(document))


def refit(
    experiment: Experiment = "demo",
    overrides: Overrides = [],  # noqa: B006 - typer reads the default, nobody changes it
) -> None:
    """Start the next generation: runs from now on fit everything anew, beside what there is."""
    from shoal.operate.refit import refit

    for sentence in refit(project_plans(experiment, overrides)):
        typer.echo(sentence)
