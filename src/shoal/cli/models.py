"""Commands about the models of past and present releases: ``shoal models …``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from shoal.cli.experiment import ExperimentArgument, Remove, Trust

Storage = Literal["snapshot", "delta", "recipe"]

app = typer.Typer(
    help="Every model of every release: its history, its differences, and getting it out.",
    no_args_is_help=True,
)

ModelName = Annotated[
    str,
    typer.Argument(
        help="an id, a tag, or [RELEASE:]WHICH: a release's number or id, then base, generalist, "
        "router, or a partition's number"
    ),
]


@app.command()
def log(experiment: ExperimentArgument) -> None:
    """List the releases, the last first: what changed, what it scored, what it costs to keep."""
    from rich.console import Console

    from shoal.archive.kept import Archive
    from shoal.archive.text import log_text

    Console().print(log_text(Archive(experiment.results)))


@app.command()
def show(experiment: ExperimentArgument, model: ModelName) -> None:
    """Say where a model comes from, what its making cost, and what it consists of."""
    from rich.console import Console

    from shoal.archive.kept import Archive
    from shoal.archive.text import model_text

    Console().print(model_text(Archive(experiment.results), model))


@app.command()
def diff(
    experiment: ExperimentArgument,
    first: ModelName,
    second: ModelName,
    trust: Trust = [],  # noqa: B006 - typer reads the default, nobody changes it
) -> None:
    """Say which layers of two models differ, and how far."""
    from rich.console import Console

    from shoal.archive.kept import Archive
    from shoal.archive.text import diff_table

    Console().print(diff_table(Archive(experiment.results, trust), first, second))


@app.command()
def tag(
    experiment: ExperimentArgument,
    name: Annotated[str, typer.Argument(help="a name to give")],
    model: ModelName,
) -> None:
    """Give a model a name."""
    from shoal.archive.kept import Archive

    typer.echo(f"{name}: {Archive(experiment.results).tag(name, model)}")


@app.command()
def export(
    experiment: ExperimentArgument,
    model: ModelName,
    out: Annotated[Path, typer.Argument(help="a .safetensors, .onnx or .pt2 file to write")],
    trust: Trust = [],  # noqa: B006 - the same
) -> None:
    """Write one model to a file: safetensors, ONNX, or a program of torch.export."""
    from shoal.archive.export import export
    from shoal.archive.kept import Archive

    export(Archive(experiment.results, trust), model, out)
    typer.echo(f"{model}: {out}")


@app.command("import")
def import_model(
    experiment: ExperimentArgument,
    file: Annotated[Path, typer.Argument(help="a .safetensors file")],
    tag: Annotated[str | None, typer.Option(help="a name to give it")] = None,
) -> None:
    """Take a model from a file: one that was exported, or any of the same architecture."""
    from shoal.archive.import_model import import_model
    from shoal.archive.kept import Archive

    typer.echo(f"{file}: {import_model(Archive(experiment.results), file, tag)}")


@app.command()
def keep(
    experiment: ExperimentArgument,
    model: ModelName,
    storage: Annotated[
        Storage, typer.Option("--as", help="whole, by what differs, or by its training")
    ],
    trust: Trust = [],  # noqa: B006 - the same
) -> None:
    """Keep a model in another way; a recipe is tried before weights are given up."""
    from shoal.archive.kept import Archive
    from shoal.archive.storage import keep_as

    archive = Archive(experiment.results, trust)
    before = archive.store.bytes
    keep_as(archive, archive.find(model), storage)
    typer.echo(f"{model}: {storage}; {archive.store.place}: {_change(before, archive.store.bytes)}")


@app.command()
def rebase(
    experiment: ExperimentArgument,
    longest: Annotated[
        int, typer.Option("--longest-chain", min=0, help="models that are read before one, at most")
    ] = 4,
) -> None:
    """Choose anew which models are kept as differences from which, where that saves bytes."""
    from shoal.archive.kept import Archive
    from shoal.archive.storage import rebase

    store = Archive(experiment.results).store
    before = store.bytes
    rebase(store, longest)
    typer.echo(f"{store.place}: {_change(before, store.bytes)}")


@app.command()
def forget(
    experiment: ExperimentArgument,
    remove: Remove = False,
) -> None:
    """List recipes with rows that the data no longer has; remove those rows when told to.

    A model whose rows are removed is gone, unless it was kept in another way before.
    """
    from rich.filesize import decimal

    from shoal.archive.forget import forget, gone_rows
    from shoal.archive.kept import Archive

    archive = Archive(experiment.results)
    gone = gone_rows(archive.root, archive.store)
    for model, rows in gone.items():
        typer.echo(f"{model}  rows that the data no longer has: {rows}")
    typer.echo(f"{archive.store.place}: {len(gone)} models are recipes with such rows")
    if remove and gone:
        typer.echo(f"rows removed, {decimal(forget(archive.root, archive.store, gone))} freed")
    elif gone:
        typer.echo("nothing was removed; --remove removes their rows, and with them these models")


@app.command()
def fsck(experiment: ExperimentArgument) -> None:
    """Read and check every model that is kept; end with code 1 if any is damaged."""
    from shoal.archive.kept import Archive, problems

    archive = Archive(experiment.results)
    found = problems(archive.root, archive.store)
    for problem in found:
        typer.echo(problem)
    models = len(archive.models)
    typer.echo(f"{archive.store.place}: {models} models, {len(found) or 'no'} problems")
    if found:
        raise typer.Exit(1)


def _change(before: int, after: int) -> str:
    return f"{before:,} bytes before, {after:,} now"
