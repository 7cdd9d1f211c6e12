"""Commands that make pools ready for devices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shoal.cli.experiment import PoolArgument, Trust
from shoal.errors import SettingsError


def graph(
    pool: PoolArgument,
    out: Annotated[Path, typer.Option(help="folder of the copy")],
    trust: Trust = [],  # noqa: B006 - typer copies it
) -> None:
    """Copy a pool, with its network as an ONNX graph, for devices that have no torch."""
    from shoal.deploy.graph import add_graph

    added = add_graph(pool.pool, out, trust)
    typer.echo(
        f"{out}: a graph of {added.size:,} bytes; its answers differ from torch's by at most "
        f"{added.difference:.1e} of the largest"
    )


def adapt(
    pool: PoolArgument,
    rows: Annotated[Path, typer.Argument(help="CSV, Parquet or NPZ file with inputs and labels")],
    partition: Annotated[int, typer.Option(help="whose specialist is trained", min=0)],
    out: Annotated[Path, typer.Option(help="folder of the adapted pool")],
    recipe: Annotated[Path, typer.Option(help="file that tells how it was made")],
    lr: Annotated[float, typer.Option(help="learning rate of AdamW")] = 0.001,
    epochs: Annotated[int, typer.Option(help="passes over the rows")] = 5,
    batch_size: Annotated[int, typer.Option(help="rows per step")] = 64,
    seed: Annotated[int, typer.Option(help="seed of the rows' order")] = 0,
    trust: Trust = [],  # noqa: B006 - the same
) -> None:
    """Train one specialist of a deployed pool further, on rows that it met."""
    from shoal.deploy.adapt import Local, adapt
    from shoal.formats.json_file import write_json
    from shoal.settings.section import parse

    asked = {"lr": lr, "epochs": epochs, "batch_size": batch_size, "seed": seed}
    training: Local = parse(Local, asked, "adapt")
    made = adapt(pool.pool, rows, partition, training, out, trust)
    write_json(recipe, made.model_dump(mode="json"))
    typer.echo(f"{out}: trained on {made.rows.count:,} rows; {recipe}")


def part(
    pool: PoolArgument,
    partitions: Annotated[str, typer.Option(help="numbers of those that are followed: 3,5,7")],
    out: Annotated[Path, typer.Option(help="folder of the copy")],
) -> None:
    """Copy a pool with the specialists of some partitions only, for devices that follow these."""
    from shoal.deploy.part import write_part

    try:
        numbers = {int(number) for number in partitions.split(",")}
    except ValueError:
        raise SettingsError(
            f"--partitions: {partitions!r} are not numbers with commas between them, as 3,5,7 are"
        ) from None
    kept = write_part(pool.pool, out, numbers)
    typer.echo(f"{out}: with the specialists of partitions {', '.join(map(str, kept)) or 'none'}")
