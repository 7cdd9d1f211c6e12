"""Kinds of options that commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from shoal.formats.provenance import recording

HASHED = "hashed"
"""Marks an option whose files' hashes are recorded in what the command writes."""

Json = Annotated[str, typer.Option(help="JSON text, composed from config/ by the workflow")]
Input = Annotated[Path, typer.Option(), HASHED]
Inputs = Annotated[list[Path], typer.Option(), HASHED]
File = Annotated[Path, typer.Option(help="an output, or what a digest or a ledger stands for")]
Files = Annotated[list[Path], typer.Option()]
Code = Annotated[str, typer.Option(help="digest of the code behind a fit")]
Paths = Annotated[list[Path], typer.Option(help="none, one or several")]
Numbers = Annotated[list[int], typer.Option(help="none, one or several")]
Share = Annotated[float, typer.Option()]
Text = Annotated[str, typer.Option()]
Texts = Annotated[list[str], typer.Option()]
Number = Annotated[int, typer.Option()]
Seconds = Annotated[float, typer.Option(help="between two checkpoints of a training")]
Threads = Annotated[int, typer.Option(help="CPU threads; the bits depend on it")]


def by_shard(paths: list[Path]) -> dict[str, Path]:
    """Shard files by shard name."""
    return {path.name.split(".")[0]: path for path in paths}


def recorded(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose outputs carry the hashes of its inputs, and the digest of a fit's code."""
    hints = get_type_hints(command, include_extras=True)
    hashed = [name for name, hint in hints.items() if HASHED in getattr(hint, "__metadata__", ())]

    @functools.wraps(command)
    def run(**options: Any) -> None:  # noqa: ANN401 - whatever the command takes
        paths: list[Path] = []
        for name in hashed:
            value = options[name]
            paths += value if isinstance(value, list) else [value]
        with recording(paths, options.get("code")):
            command(**options)

    return run
