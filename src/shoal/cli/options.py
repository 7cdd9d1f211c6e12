"""Kinds of options that commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from shoal.errors import SettingsError
from shoal.made_from import recording

if TYPE_CHECKING:
    from shoal.workflow.plan import Plan

CONFIG = Path("config")
"""Hydra's config groups, in the current folder."""

HASHED = "hashed"
"""Marks an option whose files' hashes are recorded in what the command writes."""

Json = Annotated[str, typer.Option(help="JSON text, composed from config/ by the workflow")]
Input = Annotated[Path, typer.Option(), HASHED]
Inputs = Annotated[list[Path], typer.Option(), HASHED]
File = Annotated[Path, typer.Option(help="an output, or what a digest or a ledger stands for")]
Files = Annotated[list[Path], typer.Option()]
Code = Annotated[str, typer.Option(help="digest of the code behind a fit")]
Experiment = Annotated[str, typer.Argument(help="name of a file in config/experiment")]
Overrides = Annotated[
    list[str], typer.Argument(help="changes of settings, such as cluster.partitions=12")
]
Paths = Annotated[list[Path], typer.Option(help="none, one or several")]
Numbers = Annotated[list[int], typer.Option(help="none, one or several")]
Share = Annotated[float, typer.Option()]
Text = Annotated[str, typer.Option()]
Number = Annotated[int, typer.Option()]
Seconds = Annotated[float, typer.Option(help="between two checkpoints of a training")]
Threads = Annotated[int, typer.Option(help="CPU threads; the bits depend on it")]


def by_shard(paths: list[Path]) -> dict[str, Path]:
    """Shard files by shard name."""
    return {path.name.split(".")[0]: path for path in paths}


def by_point(paths: list[Path]) -> dict[str, Path]:
    """Specialists ``…/<point>/model.safetensors`` by grid point."""
    return {path.parent.name: path for path in paths}


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


def project_plan(experiment: str, overrides: list[str]) -> Plan:
    """The plan of an experiment of the project in the current folder.

    Raises:
        SettingsError: There is no project here, or the settings do not compose.
        SourceError: There are no source files.
    """
    from shoal.workflow.plan import Plan

    if not CONFIG.is_dir():
        raise SettingsError(
            f"{Path.cwd()}: no folder {CONFIG} here; run this where the Snakefile is"
        )
    return Plan(experiment, overrides, CONFIG)
