"""Commands that make pools ready for devices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shoal.cli.experiment import PoolArgument, Trust


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
