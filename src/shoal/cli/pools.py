"""Commands about the models that an experiment has kept: ``shoal pool …``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Way = Literal["snapshot", "delta", "recipe"]

app = typer.Typer(
    help="Every model of every release: its history, its differences, and getting it out.",
    no_args_is_help=True,
)

Results = Annotated[Path, typer.Argument(help="an experiment's results folder, or a variant's")]
ModelName = Annotated[
    str,
    typer.Argument(
        help="an id, a tag, or [RELEASE:]WHICH: a release's number or id, then base, generalist, "
        "router, or a partition's number"
    ),
]
Trust = Annotated[
    list[str], typer.Option(help="module outside Shoal that the model may be imported from")
]


@app.command()
def log(results: Results) -> None:
    """List the releases, the last first: what changed, what it scored, what it costs to keep."""
    from rich.console import Console

    from shoal.archive.kept import Kept
    from shoal.archive.kept_text import log_text

    Console().print(log_text(Kept(results)))


@app.command()
def show(results: Results, model: ModelName) -> None:
    """Say where a model comes from, what its making cost, and what it consists of."""
    from rich.console import Console

    from shoal.archive.kept import Kept
    from shoal.archive.kept_text import model_text

    Console().print(model_text(Kept(results), model))


@app.command()
def diff(
    results: Results,
    first: ModelName,
    second: ModelName,
    trust: Trust = [],  # noqa: B006 - typer reads the default, nobody changes it
) -> None:
    """Say which layers of two models differ, and how far."""
    from rich.console import Console

    from shoal.archive.kept import Kept
    from shoal.archive.kept_text import diff_table

    Console().print(diff_table(Kept(results, trust), first, second))


@app.command()
def tag(
    results: Results, name: Annotated[str, typer.Argument(help="a name to give")], model: ModelName
) -> None:
    """Give a model a name."""
    from shoal.archive.kept import Kept

    typer.echo(f"{name}: {Kept(results).tag(name, model)}")


@app.command()
def export(
    results: Results,
    model: ModelName,
    out: Annotated[Path, typer.Argument(help="a .safetensors, .onnx or .pt2 file to write")],
    trust: Trust = [],  # noqa: B006 - the same
) -> None:
    """Write one model to a file: safetensors, ONNX, or a program of torch.export."""
    from shoal.archive.export import export
    from shoal.archive.kept import Kept

    export(Kept(results, trust), model, out)
    typer.echo(f"{model}: {out}")


@app.command("import")
def bring(
    results: Results,
    file: Annotated[Path, typer.Argument(help="a .safetensors file")],
    tag: Annotated[str | None, typer.Option(help="a name to give it")] = None,
) -> None:
    """Take a model from a file: one that was exported, or any of the same architecture."""
    from shoal.archive.import_model import bring
    from shoal.archive.kept import Kept

    typer.echo(f"{file}: {bring(Kept(results), file, tag)}")


@app.command()
def keep(
    results: Results,
    model: ModelName,
    way: Annotated[Way, typer.Option("--as", help="whole, by what differs, or by its training")],
    trust: Trust = [],  # noqa: B006 - the same
) -> None:
    """Keep a model in another way; a recipe is tried before weights are given up."""
    from shoal.archive.kept import Kept
    from shoal.archive.ways import keep_as

    kept = Kept(results, trust)
    before = kept.store.bytes
    keep_as(kept, kept.find(model), way)
    typer.echo(f"{model}: {way}; {kept.store.place}: {_change(before, kept.store.bytes)}")


@app.command()
def rebase(
    results: Results,
    longest: Annotated[
        int, typer.Option("--longest-chain", min=0, help="models that are read before one, at most")
    ] = 4,
) -> None:
    """Choose anew which models are kept as differences from which, where that saves bytes."""
    from shoal.archive.kept import Kept
    from shoal.archive.rebase import rebase

    store = Kept(results).store
    before = store.bytes
    rebase(store, longest)
    typer.echo(f"{store.place}: {_change(before, store.bytes)}")


@app.command()
def gc(
    results: Results,
    keep_releases: Annotated[
        int, typer.Option(min=1, help="how many of the last releases keep their models")
    ],
    remove: Annotated[bool, typer.Option("--remove", help="remove what is listed")] = False,
) -> None:
    """List models of older releases alone, without those that have a tag; remove them when told to.

    Variants share a store: what the last releases of any of them have is kept.
    """
    from rich.filesize import decimal

    from shoal.archive.kept import Kept
    from shoal.archive.release_gc import let_go, unneeded
    from shoal.model_store.usage import freed_by

    kept = Kept(results)
    models = unneeded(kept.root, kept.store, keep_releases)
    for model in models:
        typer.echo(model)
    size = decimal(freed_by(kept.store, models))
    typer.echo(f"{kept.store.place}: {len(models)} models in no kept release, {size}")
    if remove:
        typer.echo(f"removed, {decimal(let_go(kept.root, kept.store, keep_releases))} freed")
    elif models:
        typer.echo("nothing was removed; --remove removes them")


@app.command()
def forget(
    results: Results,
    remove: Annotated[bool, typer.Option("--remove", help="remove the rows")] = False,
) -> None:
    """List recipes with rows that the data no longer has; remove those rows when told to.

    A model whose rows are removed is gone, unless it was kept in another way before.
    """
    from rich.filesize import decimal

    from shoal.archive.forget import forget, gone_rows
    from shoal.archive.kept import Kept

    kept = Kept(results)
    gone = gone_rows(kept.root, kept.store)
    for model, rows in gone.items():
        typer.echo(f"{model}  rows that the data no longer has: {rows}")
    typer.echo(f"{kept.store.place}: {len(gone)} models are recipes with such rows")
    if remove and gone:
        typer.echo(f"rows removed, {decimal(forget(kept.root, kept.store, gone))} freed")
    elif gone:
        typer.echo("nothing was removed; --remove removes their rows, and with them these models")


@app.command()
def fsck(results: Results) -> None:
    """Read and check every model that is kept; end with code 1 if any is damaged."""
    from shoal.archive.kept import Kept, problems

    kept = Kept(results)
    found = problems(kept.root, kept.store)
    for problem in found:
        typer.echo(problem)
    models = len(kept.models)
    typer.echo(f"{kept.store.place}: {models} models, {len(found) or 'no'} problems")
    if found:
        raise typer.Exit(1)


def _change(before: int, after: int) -> str:
    return f"{before:,} bytes before, {after:,} now"
