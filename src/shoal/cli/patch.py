"""Commands about patches between pools: ``shoal patch …``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shoal.cli.experiment import PoolArgument

app = typer.Typer(
    help="Small files that turn a deployed pool into the next one, to the bit.",
    no_args_is_help=True,
)


@app.command()
def make(
    before: PoolArgument,
    after: PoolArgument,
    out: Annotated[Path, typer.Option(help="the patch to write")],
) -> None:
    """Write a patch that turns one pool into another and fits no other pool."""
    from shoal.deploy.patches import make_patch

    size, whole = make_patch(before.pool, after.pool, out)
    typer.echo(f"{out}: {size:,} bytes, where the pool has {whole:,}")


@app.command()
def apply(
    pool: PoolArgument,
    patch: Annotated[Path, typer.Argument(help="a patch for this pool")],
) -> None:
    """Apply a patch to a pool in its folder: all of it, or nothing if it does not fit."""
    from shoal.deploy.patches import apply_patch

    done = apply_patch(pool.pool, patch)
    files = "1 file" if done.changed == 1 else f"{done.changed} files"
    typer.echo(f"{pool.pool}: {files} changed; the pool before is in {done.kept}")
