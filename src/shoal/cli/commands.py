"""Every command, by stage. A rule of the workflow calls the command of its name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shoal.cli import (
    intermediates,
    learning,
    packing,
    pools,
    query,
    search,
    stimulus,
    store_care,
    upkeep,
)
from shoal.cli.options import recorded
from shoal.errors import SourceError
from shoal.formats.files import replacing

app = typer.Typer(
    help="Data-driven model scaling: one model and one dataset become a pool of specialists.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def predict(
    pool: Annotated[Path, typer.Argument(help="the pool's folder")],
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="CSV, Parquet or NPZ file")],
    out: Annotated[Path, typer.Option(help="Parquet or CSV file to write")],
    trust: Annotated[
        list[str], typer.Option(help="module outside Shoal that the model may be imported from")
    ] = [],  # noqa: B006 - typer reads the default, nobody changes it
    digest: Annotated[
        str | None, typer.Option(help="digest that the pool must have, see `shoal verdict`")
    ] = None,
) -> None:
    """Apply a pool to new rows."""
    from shoal.pool.command import predict

    rows = predict(pool, source, out, trust, digest)
    typer.echo(f"{rows} rows predicted: {out}")


@app.command()
def verdict(
    results: Annotated[Path, typer.Argument(help="an experiment's results folder")],
) -> None:
    """Print an experiment's verdict, where its pool lies, and whether new rows have drifted."""
    from rich.console import Console

    from shoal.evaluate.drift_table import drift_table
    from shoal.evaluate.verdict import verdict_table
    from shoal.formats.documents.judgement import DriftReport, Metrics
    from shoal.formats.json_file import read_made
    from shoal.pool.manifest import pool_digest

    metrics = read_made(results / "metrics.json", Metrics)
    Console().print(verdict_table(metrics, results / "pool", pool_digest(results / "pool")))
    drift = read_made(results / "drift.json", DriftReport)
    if drift["overall"]["arrived"]:
        Console().print(drift_table(drift))


@app.command()
def demo_data(
    folder: Annotated[Path, typer.Argument(help="where the files go")],
) -> None:
    """Write the demo's source files: digits in four orientations, each with its own labels."""
    from shoal.demo import write_demo
    from shoal.sources.shards import declare_names

    if folder.exists() and any(folder.iterdir()):
        raise SourceError(f"{folder}: not empty; the demo's files go into a folder of their own")
    with replacing(folder) as aside:
        paths = write_demo(aside)
        declare_names({path: path.stem for path in paths})
    typer.echo(f"{len(paths)} files: {folder}")


for command in (
    upkeep.plan,
    upkeep.variants,
    upkeep.refit,
    store_care.audit,
    store_care.gc,
    query.query,
    stimulus.import_stimulus,
):
    app.command()(command)


app.add_typer(pools.app, name="pool")
app.add_typer(intermediates.app, name="intermediates")

app.command(hidden=True)(learning.check_classes)

STAGE_COMMANDS = {
    function.__name__.replace("_", "-"): function
    for function in (
        *learning.COMMANDS,
        *search.COMMANDS,
        *packing.COMMANDS,
    )
}
"""Commands that rules call, by name."""

for name, function in STAGE_COMMANDS.items():
    app.command(name, hidden=True)(recorded(function))
