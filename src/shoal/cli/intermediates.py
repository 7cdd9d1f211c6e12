"""Commands about activations of models' layers: ``shoal intermediates …``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from shoal.explore.intermediates.ask import Table

app = typer.Typer(
    help="What layers give for the dataset's rows: kept within a budget, and searched.",
    no_args_is_help=True,
)

Results = Annotated[Path, typer.Argument(help="an experiment's results folder, or a variant's")]
ModelName = Annotated[
    str,
    typer.Argument(
        help="an id, a tag, or [RELEASE:]WHICH: base, generalist, a partition's number, or "
        "embedder, whose layer is 'embedding'"
    ),
]
LayerName = Annotated[str, typer.Argument(help="name of one of the model's modules")]
Rows = Annotated[
    str, typer.Option(help="own: the partition's; all; or how many of all, as a sample")
]
Trust = Annotated[
    list[str], typer.Option(help="module outside Shoal that the model may be imported from")
]
Form = Annotated[
    str, typer.Option(help="full, float16, quantile8, pooled, pooled-last; else as it is kept")
]
Rank = Annotated[int, typer.Option("-k", min=1, help="how many rows")]
AsCsv = Annotated[bool, typer.Option("--csv", help="print CSV, as to a pipe or file")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON, for programs")]


@app.command()
def keep(
    results: Results,
    models: Annotated[
        list[str],
        typer.Argument(
            help="models, as in `shoal pool show`; else base, generalist and chosen specialists",
            show_default=False,
        ),
    ] = [],  # noqa: B006 - typer reads the default, nobody changes it
    layer: Annotated[
        list[str],
        typer.Option(help="name of a module; again for more; none: what was asked for before"),
    ] = [],  # noqa: B006 - the same
    form: Annotated[
        str, typer.Option(help="full, float16, quantile8, pooled (channels first), pooled-last")
    ] = "full",
    rows: Rows = "own",
    budget: Annotated[
        str, typer.Option(help="bytes, such as 100MB; else intermediates.budget of the settings")
    ] = "",
    trust: Trust = [],  # noqa: B006 - the same
) -> None:
    """Keep what layers give, now and after later releases, where that saves most time a byte."""
    from rich.console import Console

    from shoal.explore.intermediates.ask import bytes_of, usual_budget
    from shoal.explore.intermediates.keeping import Request, kept_table, summary
    from shoal.explore.intermediates.keeping import keep as keep_requests
    from shoal.explore.intermediates.store import Intermediates

    store = Intermediates(results, trust)
    size = bytes_of(budget) if budget else usual_budget(results)
    requests = [Request(model, name, form, rows) for model in models or [""] for name in layer]
    Console().print(kept_table(keep_requests(store, requests, size)))
    typer.echo(summary(store))


@app.command("list")
def list_kept(results: Results) -> None:
    """Say what is kept of which layers, as the last `keep` left it."""
    from rich.console import Console

    from shoal.explore.intermediates.keeping import kept_table, summary
    from shoal.explore.intermediates.store import Intermediates

    store = Intermediates(results)
    Console().print(kept_table(store.catalogue.record.get("report", [])))
    typer.echo(summary(store))


@app.command()
def nearest(
    results: Results,
    model: ModelName,
    layer: LayerName,
    query: Annotated[str, typer.Argument(help="a row's key, or a CSV, Parquet or NPZ file")],
    k: Rank = 10,
    form: Form = "",
    rows: Rows = "own",
    trust: Trust = [],  # noqa: B006 - the same
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """List the rows whose activations are nearest to a row's, or to those of a file's rows."""
    from shoal.explore.intermediates.ask import nearest_rows
    from shoal.explore.intermediates.store import Intermediates

    store = Intermediates(results, trust)
    _print(nearest_rows(store, model, layer, query, k, form, rows), as_csv, as_json)


@app.command()
def top(
    results: Results,
    model: ModelName,
    layer: LayerName,
    unit: Annotated[str, typer.Argument(help="number of the unit from 0, or one a dimension: 3,0")],
    k: Rank = 10,
    form: Form = "",
    rows: Rows = "own",
    trust: Trust = [],  # noqa: B006 - the same
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """List the rows at which a unit is most active."""
    from shoal.explore.intermediates.ask import top_rows
    from shoal.explore.intermediates.store import Intermediates

    store = Intermediates(results, trust)
    _print(top_rows(store, model, layer, unit, k, form, rows), as_csv, as_json)


def _print(table: Table, as_csv: bool, as_json: bool) -> None:
    """A table for people, CSV into a pipe or file, as `shoal query` does."""
    from shoal.explore.query import output
    from shoal.explore.query.database import Answer

    answer = Answer(table[0], iter(table[1]))
    if as_json:
        typer.echo(output.as_json(answer))
    elif as_csv or not sys.stdout.isatty():
        output.write_csv(answer)
    else:
        from rich.console import Console

        Console().print(output.table(answer))
