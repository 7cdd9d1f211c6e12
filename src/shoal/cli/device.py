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
