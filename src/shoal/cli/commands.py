"""Commands that people call, and the check of classes that a run starts with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from shoal.cli import channel, device, explore, models, operate, patch
from shoal.cli.experiment import ExperimentArgument, PoolArgument, Trust, show
from shoal.errors import SettingsError, SourceError

app = typer.Typer(
    help="Data-driven model scaling: one model and one dataset become a pool of specialists.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"shoal {version('shoal')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="print the version"),
    ] = False,
) -> None:
    """Take options that concern no one command."""


@app.command()
def predict(
    experiment: PoolArgument,
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="CSV, Parquet or NPZ file")],
    out: Annotated[Path, typer.Option(help="Parquet or CSV file to write")],
    trust: Trust = [],  # noqa: B006 - typer reads the default, nobody changes it
    digest: Annotated[
        str | None, typer.Option(help="digest that the pool must have, see `shoal verdict`")
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="folder to which a report of the rows is added")
    ] = None,
) -> None:
    """Apply an experiment's pool to new rows."""
    from shoal.pool.command import predict

    rows = predict(experiment.pool, source, out, trust, digest, log)
    typer.echo(f"{rows} rows predicted: {out}")


@app.command()
def verdict(experiment: ExperimentArgument) -> None:
    """Print an experiment's verdict, where its pool lies, and whether new rows have drifted."""
    from shoal.formats.documents.judgement import DriftReport, Judged, scored
    from shoal.formats.json_file import read_made
    from shoal.pool.manifest import pool_digest
    from shoal.report.terminal import drift_table, verdict_table

    results = experiment.results
    metrics = scored(results / "metrics.json")
    if metrics is None:
        typer.echo(read_made(results / "metrics.json", Judged)["sentence"])
    else:
        show(verdict_table(metrics, results / "pool", pool_digest(results / "pool")))
    drift = read_made(results / "drift.json", DriftReport)
    if drift["overall"]["arrived"]:
        show(drift_table(drift))


@app.command()
def demo_data(
    folder: Annotated[Path, typer.Argument(help="where the files go")],
) -> None:
    """Write the demo's source files: digits in four orientations, each with its own labels."""
    from shoal.demo import make_demo

    if folder.exists() and any(folder.iterdir()):
        raise SourceError(f"{folder}: not empty; the demo's files go into a folder of their own")
    typer.echo(f"{len(make_demo(folder))} files: {folder}")


@app.command()
def text_data(
    folder: Annotated[Path, typer.Argument(help="where the files go")],
) -> None:
    """Write text of many kinds, from the files of installed packages; tables apart, for later."""
    from shoal.installed_text import make_text

    if folder.exists() and any(folder.iterdir()):
        raise SourceError(f"{folder}: not empty; the text's files go into a folder of their own")
    rows = make_text(folder)
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in rows.most_common())
    typer.echo(f"{rows.total():,} rows of text of {len(rows)} kinds: {folder}\n{kinds}")


for command in (
    operate.plan,
    operate.follow,
    operate.variants,
    operate.refit,
    operate.grow,
    operate.replay,
    operate.audit,
    operate.gc,
    explore.query,
    explore.import_stimulus,
    device.graph,
    device.adapt,
    device.part,
):
    app.command()(command)


app.add_typer(models.app, name="models")
app.add_typer(patch.app, name="patch")
app.add_typer(channel.app, name="channel")
app.add_typer(explore.intermediates, name="intermediates")


app.command(hidden=True)(operate.follow_plan)


@app.command(hidden=True)
def check_classes(
    settings: Annotated[list[Path], typer.Option()],
    model: bool = False,
    encoders: bool = False,
    functions: bool = False,
) -> None:
    """Import the classes and functions that settings name; check that they take their arguments."""
    from shoal.workflow.class_check import check_classes

    check_classes(settings, model=model, encoders=encoders, functions=functions)


def run(arguments: list[str]) -> int:
    """Run a command; its exit code. A command line that is no command's is one line and code 2."""
    usage_error: Any = typer.BadParameter.__bases__[0]  # which has no public name in all versions
    try:
        return app(arguments, prog_name="shoal", standalone_mode=False) or 0
    except usage_error as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # its message is the whole help
            error.show()
            return 2
        path = error.ctx.command_path if error.ctx is not None else "shoal"
        message = error.format_message().rstrip(".")
        raise SettingsError(f"{message} (see `{path} --help`)") from None
