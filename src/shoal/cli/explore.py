"""Commands that ask questions: query, import-stimulus and ``shoal intermediates …``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shoal.cli.experiment import DEMO, Experiment, ExperimentArgument, Trust, require_project, show
from shoal.errors import SettingsError
from shoal.formats.files import replacing

if TYPE_CHECKING:
    from shoal.explore.intermediates.ask import Table
    from shoal.explore.query.database import Answer
    from shoal.plan.variants import Variant

AsCsv = Annotated[bool, typer.Option("--csv", help="print CSV, as to a pipe or file")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON, for programs")]


def query(
    experiment: ExperimentArgument = DEMO,
    sql: Annotated[
        str, typer.Argument(help="one SELECT; without it the tables are listed", show_default=False)
    ] = "",
    as_csv: AsCsv = False,
    as_json: AsJson = False,
    export: Annotated[
        Path | None,
        typer.Option(help="folder to write all tables to, in the ml-experiments schema"),
    ] = None,
) -> None:
    """Answer a question in SQL about datasets, models, predictions, scores and what made them.

    Reads the results folder alone and changes nothing in it. Without an experiment: the demo's.
    """
    if not sql and any(each.isspace() for each in experiment.text.strip()):
        experiment, sql = DEMO, experiment.text
    if as_csv and as_json:
        raise SettingsError("--csv and --json: choose one")
    from shoal.explore.query.results import Results

    results = Results(experiment.results)
    if export is not None:
        from shoal.explore.query.export import export_metadata

        for name, entries in export_metadata(results, export).items():
            typer.echo(f"{entries:,} {name}: {export / name}.json")
    if sql:
        from shoal.explore.query.database import Database

        _print(Database(results).ask(sql), as_csv, as_json)
    elif export is None:
        from shoal.explore.query.output import tables

        show(tables())


def import_stimulus(
    config: Annotated[Path, typer.Argument(help="a YAML or an older JSON config of stimulus")],
    data: Annotated[Path, typer.Argument(help="the file with the rows")],
    out: Annotated[Path, typer.Option(help="file to write, such as config/experiment/NAME.yaml")],
) -> None:
    """Write an experiment from a config of stimulus, and say what it could not carry over."""
    from shoal.explore.import_stimulus.experiment import imported

    if out.suffix != ".yaml":
        raise SettingsError(f"{out}: an experiment is a file whose name ends in .yaml")
    if out.exists():
        raise SettingsError(f"{out}: is there already; remove it, or choose another name")
    require_project()
    experiment = imported(config, data, out.stem)
    with tempfile.TemporaryDirectory() as scratch:  # only one that composes will be written
        file = Path(scratch, out.name)
        file.write_text(experiment.text, encoding="utf-8")
        found = Experiment(str(file)).variants([])
    with replacing(out) as aside:
        aside.write_text(experiment.text, encoding="utf-8")
    for note in experiment.notes:
        typer.echo(f"not carried over: {note}")
    typer.echo(f"{_counted(found)}: {out}")


def _counted(found: list[Variant]) -> str:
    """How many choices each stage has, and how many variants that makes."""
    from shoal.formats.hashing import canonical_json

    counts = []
    for stage in ("split", "transform", "encode"):
        distinct = {canonical_json(getattr(each.settings, stage).as_json()) for each in found}
        counts.append(f"{len(distinct)} {stage}")
    noun = "variant" if len(found) == 1 else "variants"
    return f"{' × '.join(counts)} = {len(found)} {noun}"


intermediates = typer.Typer(
    help="Layer activations of the dataset's rows: kept within a budget, and searched.",
    no_args_is_help=True,
)

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
Form = Annotated[
    str, typer.Option(help="full, float16, quantile8, pooled, pooled-last; else as it is kept")
]
Rank = Annotated[int, typer.Option("-k", min=1, help="how many rows")]


@intermediates.command()
def keep(
    experiment: ExperimentArgument,
    models: Annotated[
        list[str],
        typer.Argument(
            help="models, as in `shoal models show`; else base, generalist and chosen specialists",
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
    """Keep activations, now and after later releases, where that saves most time per byte."""
    from shoal.explore.intermediates.ask import bytes_of, usual_budget
    from shoal.explore.intermediates.keeping import Request, kept_table, summary
    from shoal.explore.intermediates.keeping import keep as keep_requests
    from shoal.explore.intermediates.store import Intermediates

    store = Intermediates(experiment.results, trust)
    size = bytes_of(budget) if budget else usual_budget(experiment.results)
    requests = [Request(model, name, form, rows) for model in models or [""] for name in layer]
    show(kept_table(keep_requests(store, requests, size)))
    typer.echo(summary(store))


@intermediates.command("list")
def list_kept(experiment: ExperimentArgument) -> None:
    """List the activations that are kept, as of the last `keep`."""
    from shoal.explore.intermediates.keeping import kept_table, summary
    from shoal.explore.intermediates.store import Intermediates

    store = Intermediates(experiment.results)
    show(kept_table(store.catalogue.record.get("report", [])))
    typer.echo(summary(store))


@intermediates.command()
def nearest(
    experiment: ExperimentArgument,
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

    store = Intermediates(experiment.results, trust)
    _print_table(nearest_rows(store, model, layer, query, k, form, rows), as_csv, as_json)


@intermediates.command()
def top(
    experiment: ExperimentArgument,
    model: ModelName,
    layer: LayerName,
    unit: Annotated[
        str, typer.Argument(help="number of the unit from 0, or one per dimension: 3,0")
    ],
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

    store = Intermediates(experiment.results, trust)
    _print_table(top_rows(store, model, layer, unit, k, form, rows), as_csv, as_json)


def _print_table(table: Table, as_csv: bool, as_json: bool) -> None:
    from shoal.explore.query.database import Answer

    _print(Answer(table[0], iter(table[1])), as_csv, as_json)


def _print(answer: Answer, as_csv: bool, as_json: bool) -> None:
    """Print a table for people, CSV into a pipe or a file, or JSON."""
    from shoal.explore.query import output

    if as_json:
        typer.echo(output.as_json(answer))
    elif as_csv or not sys.stdout.isatty():
        output.write_csv(answer)
    else:
        show(output.table(answer))
