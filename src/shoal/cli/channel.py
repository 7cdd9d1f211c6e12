"""Commands that publish pools for devices: ``shoal channel …``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shoal.terminal import say

app = typer.Typer(
    help="Pools and patches on a web server, signed, for devices to update from.",
    no_args_is_help=True,
)

Folder = Annotated[
    Path, typer.Argument(help="the publisher's folder: keys, and the files to publish")
]
To = Annotated[
    str | None,
    typer.Option(help="where a copy of FOLDER/public goes: s3://…, a folder, any fsspec URL"),
]


@app.command()
def init(folder: Folder, to: To = None) -> None:
    """Make keys, and a repository without pools."""
    from shoal.deploy.distribute import start

    root = start(folder, to)
    typer.echo(f"{root}: what devices need first, by a way that is trusted")


@app.command()
def publish(
    folder: Folder,
    copies: Annotated[
        list[Path], typer.Argument(help="a channel: results/NAME/deploy; or pools, newest last")
    ],
    to: To = None,
) -> None:
    """Publish a pool, and patches from up to eight before it."""
    from shoal.deploy.distribute import publish

    done = publish(folder, copies, to)
    sizes = ", ".join(f"{size:,}" for size in done.patches.values()) or "none"
    typer.echo(f"{copies[-1]}: {done.size:,} bytes; patches: {sizes}")
    for manifest in done.without:
        say(f"no patch from the pool with manifest {manifest}: its devices take the whole pool")


@app.command()
def renew(folder: Folder, to: To = None) -> None:
    """Sign anew what will expire: to be called every day."""
    from shoal.deploy.distribute import renew

    for role in renew(folder, to):
        say(f"{role} expires, and its key is not in {folder}/keys: renew with it")


@app.command()
def rotate(
    folder: Folder,
    role: Annotated[str, typer.Argument(help="root, targets, snapshot or timestamp")],
    to: To = None,
) -> None:
    """Give a role a new key; what the old one signs counts no more."""
    from shoal.deploy.distribute import rotate

    rotate(folder, role, to)
    typer.echo(f"{folder}: {role} has a new key")
