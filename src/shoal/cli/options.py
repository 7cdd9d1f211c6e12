"""Kinds of options that commands share."""

from __future__ import annotations

import contextlib
import functools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from shoal.errors import SettingsError, SourceError
from shoal.formats.provenance import recording

if TYPE_CHECKING:
    from shoal.plan.plan import Plan

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


def project_plan(experiment: str, overrides: list[str]) -> Plan:
    """The plan of an experiment that has one variant, or of the one that is chosen.

    Raises:
        SettingsError: There are several, there is no project here, or the settings do not compose.
        SourceError: There are no source files.
    """
    from shoal.plan.plan import Plan

    require_project()
    return Plan(experiment, overrides, CONFIG)


def require_project() -> None:
    """Refuse a current folder that holds no project.

    Raises:
        SettingsError: It has no config groups.
    """
    if not CONFIG.is_dir():
        raise SettingsError(
            f"{Path.cwd()}: no folder {CONFIG} here; run this where the Snakefile is"
        )


@contextlib.contextmanager
def experiment_at(place: str) -> Iterator[tuple[str, Path]]:
    """Name and config folder of an experiment that is named, or lies in a file of its own.

    Args:
        place: A name in ``config/experiment``, or a path that ends in ``.yaml``.

    Raises:
        SourceError: There is no such file.
        SettingsError: It is no file of settings.
    """
    from shoal.settings.config_files import checked

    file = Path(place)
    if file.suffix != ".yaml":
        yield place, CONFIG
        return
    if not file.is_file():
        raise SourceError(f"{file}: no such file")
    checked(file)
    with tempfile.TemporaryDirectory() as scratch:
        for path in CONFIG.resolve().iterdir():
            if path.name != "experiment":
                Path(scratch, path.name).symlink_to(path)
        folder = Path(scratch, "experiment")
        folder.mkdir()
        shutil.copy(file, folder)
        yield file.stem, Path(scratch)


def project_plans(experiment: str, overrides: list[str], config: Path = CONFIG) -> list[Plan]:
    """The plans of an experiment's variants, of the project in the current folder.

    Raises:
        SettingsError: There is no project here, or the settings do not compose.
        SourceError: There are no source files.
    """
    from shoal.plan.plan import Plan
    from shoal.plan.variants import variants

    require_project()
    return [
        Plan(experiment, overrides, config, variant)
        for variant in variants(config, experiment, overrides)
    ]
