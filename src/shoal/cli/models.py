"""Commands about the models of past and present releases: ``shoal models …``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from shoal.cli.experiment import ExperimentArgument, Remove, Trust, show
from shoal.errors import SettingsError

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
    from shoal.archive.text import log_text

    show(log_text(experiment.archive()))


@app.command("show")
def show_model(experiment: ExperimentArgument, model: ModelName) -> None:
    """Say where a model comes from, what its making cost, and what it consists of."""
    from shoal.archive.text import model_text

    show(model_text(experiment.archive(), model))


@app.command()
def diff(
    experiment: ExperimentArgument,
    first: ModelName,
    second: ModelName,
    trust: Trust = [],  # noqa: B006 - typer reads the default, nobody changes it
) -> None:
    """Say which layers of two models differ, and how far."""
    from shoal.archive.text import diff_table

    show(diff_table(experiment.archive(trust), first, second))


@app.command()
def tag(
    experiment: ExperimentArgument,
    name: Annotated[str, typer.Argument(help="a name to give")],
    model: ModelName,
) -> None:
    """Give a model a name."""
    typer.echo(f"{name}: {experiment.archive().tag(name, model)}")


@app.command()
def export(
    experiment: ExperimentArgument,
    model: ModelName,
    out: Annotated[Path, typer.Argument(help="a .safetensors, .onnx or .pt2 file to write")],
    trust: Trust = [],  # noqa: B006 - the same
) -> None:
    """Write one model to a file: safetensors, ONNX, or a program of torch.export."""
    from shoal.archive.export import export

    export(experiment.archive(trust), model, out)
    typer.echo(f"{model}: {out}")


@app.command("import")
def import_model(
    experiment: ExperimentArgument,
    file: Annotated[
        Path,
        typer.Argument(
            help="a .safetensors file; from an instance a patch, a recipe, or a pool's folder; or "
            "a folder with a file INSTANCE.patch for each"
        ),
    ],
    tag: Annotated[str | None, typer.Option(help="a name to give a model")] = None,
    instance: Annotated[
        str | None, typer.Option(help="the instance that it came back from, such as car-17")
    ] = None,
    rows: Annotated[
        Path | None, typer.Option(help="the rows of a recipe: a CSV, Parquet or NPZ file")
    ] = None,
    trust: Trust = [],  # noqa: B006 - the same
) -> None:
    """Take a model from a file, or what came back from a deployed pool: exactly, or not at all."""
    if instance is None and not file.is_dir():
        from shoal.archive.import_model import import_model

        typer.echo(f"{file}: {import_model(experiment.archive(), file, tag)}")
        return
    from shoal.archive.returned import import_folder, import_instance

    if tag is not None:
        raise SettingsError("--tag names a model, and an instance has a name")
    if instance is None:
        if rows is not None:
            raise SettingsError("--rows belongs to a recipe of one --instance")
        states = import_folder(experiment.results, file)
        typer.echo(f"{file}: {len(states)} instances")
    else:
        state = import_instance(experiment.results, file, instance, rows, trust)
        typer.echo(f"{file}: {state.id}, {state.way}")


@app.command()
def instances(
    experiment: ExperimentArgument,
    instance: Annotated[str | None, typer.Argument(help="the states of this one")] = None,
) -> None:
    """List the instances of which something came back, each with its last state."""
    from shoal.archive.text import instances_table

    show(instances_table(experiment.results, instance))


@app.command()
def recover(
    experiment: ExperimentArgument,
    state: Annotated[
        str, typer.Argument(help="INSTANCE for its last state, INSTANCE@NUMBER or INSTANCE@TIME")
    ],
    out: Annotated[Path, typer.Argument(help="a folder to write")],
) -> None:
    """Write the pool of an instance, as it was, to a folder."""
    from shoal.archive.instances import Instances

    found = Instances(experiment.results).recover(state, out)
    typer.echo(f"{found.id}, of {found.time}: {out}")


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
    from shoal.archive.storage import keep_as

    archive = experiment.archive(trust)
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
    from shoal.archive.storage import rebase

    store = experiment.archive().store
    before = store.bytes
    rebase(store, longest)
    typer.echo(f"{store.place}: {_change(before, store.bytes)}")


@app.command()
def forget(
    experiment: ExperimentArgument,
    remove: Remove = False,
) -> None:
    """List recipes with rows that the data no longer has; remove those rows when told to.

    A model whose rows are removed is gone, unless it was kept in another way before, and with it
    each recipe that continues from it.
    """
    from rich.filesize import decimal

    from shoal.archive.forget import forget, gone_rows, lost_with

    archive = experiment.archive()
    gone = gone_rows(archive.root, archive.store)
    for model, rows in gone.items():
        typer.echo(f"{model}  rows that the data no longer has: {rows}")
    for model in lost_with(archive.store, gone):
        typer.echo(f"{model}  continues from a model with such rows")
    typer.echo(f"{archive.store.place}: {len(gone)} models are recipes with such rows")
    if remove and gone:
        typer.echo(f"rows removed, {decimal(forget(archive.root, archive.store, gone))} freed")
    elif gone:
        typer.echo("nothing was removed; --remove removes their rows, and with them these models")


@app.command()
def fsck(experiment: ExperimentArgument) -> None:
    """Read and check every model and instance that is kept; end with code 1 if any is damaged."""
    from shoal.archive.instances import Instances
    from shoal.archive.kept import problems

    archive = experiment.archive()
    found = [*problems(archive.root, archive.store), *Instances(experiment.results).store.fsck()]
    for problem in found:
        typer.echo(problem)
    models = len(archive.models)
    typer.echo(f"{archive.store.place}: {models} models, {len(found) or 'no'} problems")
    if found:
        raise typer.Exit(1)


def _change(before: int, after: int) -> str:
    return f"{before:,} bytes before, {after:,} now"
