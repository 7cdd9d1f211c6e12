"""Kinds of options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[str, typer.Option(help="JSON text, composed from config/ by the workflow")]
File = Annotated[Path, typer.Option()]
Files = Annotated[list[Path], typer.Option()]
Text = Annotated[str, typer.Option()]
Number = Annotated[int, typer.Option()]
Threads = Annotated[int, typer.Option(help="CPU threads; the bits depend on it")]


def by_shard(paths: list[Path]) -> dict[str, Path]:
    """Shard files by shard name."""
    return {path.name.split(".")[0]: path for path in paths}


def by_point(paths: list[Path]) -> dict[str, Path]:
    """Specialists ``…/<point>/model.safetensors`` by grid point."""
    return {path.parent.name: path for path in paths}
