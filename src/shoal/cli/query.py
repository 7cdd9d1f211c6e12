"""Command ``query``: questions in SQL about an experiment's results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shoal.errors import SettingsError

if TYPE_CHECKING:
    from shoal.explore.query.results import Results


def query(
    experiment: Annotated[
        str, typer.Argument(help="an experiment's name, or its results folder")
    ] = "demo",
    sql: Annotated[
        str, typer.Argument(help="one SELECT; without it the tables are listed", show_default=False)
    ] = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="print CSV, as to a pipe or file")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, for programs")] = False,
    export: Annotated[
        Path | None,
        typer.Option(help="folder to write all tables to, in the ml-experiments schema"),
    ] = None,
) -> None:
    """Answer a question in SQL about datasets, models, predictions, scores and what made them.

    Reads the results folder alone and changes nothing in it. Without an experiment: the demo's.
    """
    if not sql and any(each.isspace() for each in experiment.strip()):
        experiment, sql = "demo", experiment
    if as_csv and as_json:
        raise SettingsError("--csv and --json: choose one")
    from shoal.explore.query.results import Results

    results = Results(Path(experiment) if "/" in experiment else Path("results", experiment))
    if export is not None:
        from shoal.explore.query.export import export_metadata

        for name, entries in export_metadata(results, export).items():
            typer.echo(f"{entries:,} {name}: {export / name}.json")
    if sql:
        _answer(results, sql, as_csv, as_json)
    elif export is None:
        from rich.console import Console

        from shoal.explore.query.output import tables

        Console().print(tables())


def _answer(results: Results, sql: str, as_csv: bool, as_json: bool) -> None:
    from shoal.explore.query import output
    from shoal.explore.query.database import Database

    answer = Database(results).ask(sql)
    if as_json:
        typer.echo(output.as_json(answer))
    elif as_csv or not sys.stdout.isatty():
        output.write_csv(answer)
    else:
        from rich.console import Console

        Console().print(output.table(answer))
