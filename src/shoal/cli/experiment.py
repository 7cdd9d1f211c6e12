"""How commands name an experiment, ``demo`` or ``results/demo``, and the plans behind the name."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shoal.errors import SettingsError, SourceError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from shoal.archive.kept import Archive
    from shoal.plan.plan import Plan
    from shoal.plan.variants import Variant

CONFIG = Path("config")
"""The project's settings, in the current folder."""
_RESULTS = Path("results")


@dataclass(frozen=True)
class Experiment:
    """An experiment as a person names it.

    Attributes:
        text: Its name, or the path of its results folder or of a variant's in it.
    """

    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def results(self) -> Path:
        """The folder of what is published: ``results/demo`` for ``demo``."""
        named, given = _RESULTS / self.text, Path(self.text)
        return named if self._is_name and (named.is_dir() or not given.is_dir()) else given

    @property
    def _is_name(self) -> bool:
        return "/" not in self.text and self.text not in (".", "..")

    @property
    def pool(self) -> Path:
        """The folder of its pool; a pool's own folder, wherever it lies, will do."""
        from shoal.pool.manifest import MANIFEST

        results = self.results
        return results if (results / MANIFEST).exists() else results / "pool"

    def archive(self, trust: list[str] | None = None) -> Archive:
        """The models of its releases.

        Args:
            trust: Modules outside Shoal that a model may be imported from.
        """
        from shoal.archive.kept import Archive

        return Archive(self.results, trust or ())

    def variants(self, overrides: list[str]) -> list[Variant]:
        """Its variants, by the settings of the project in the current folder.

        Raises:
            SettingsError: There is no project here, or the settings do not compose.
            SourceError: The name is that of a file, which is not there.
        """
        from shoal.plan.variants import variants

        name, changes = self._in_project(overrides)
        with _config_with(name) as config:
            return variants(config, Path(name).stem, changes)

    def content(self, overrides: list[str]) -> dict[str, Any]:
        """Its settings as they are composed, plain values; no source file is looked at.

        Raises:
            SettingsError: There is no project here, or the settings do not compose.
            SourceError: The name is that of a file, which is not there.
        """
        from shoal.plan.variants import CHOICE
        from shoal.settings.compose import composed, resolved

        name, changes = self._in_project(overrides)
        changes = [each for each in changes if not each.startswith(CHOICE)]
        with _config_with(name) as config:
            return resolved(composed(config, Path(name).stem, changes))

    def plans(self, overrides: list[str]) -> list[Plan]:
        """The plans of its variants.

        Raises:
            SettingsError: See :meth:`variants`.
            SourceError: There are no source files.
        """
        return self.planned(overrides)[0]

    def planned(self, overrides: list[str]) -> tuple[list[Plan], list[Plan]]:
        """The plans of its variants, and these with all that they are compared with.

        Raises:
            SettingsError: See :meth:`variants`.
            SourceError: There are no source files.
        """
        from shoal.plan.plan import Plan, planned

        name, changes = self._in_project(overrides)
        with _config_with(name) as config:
            return planned(Plan, Path(name).stem, changes, config)

    def plan(self, overrides: list[str]) -> Plan:
        """Its plan if it has one variant, or that of the variant that is chosen.

        Raises:
            SettingsError: There are several, or see :meth:`variants`.
            SourceError: There are no source files.
        """
        from shoal.plan.variants import refuse_several

        found = self.plans(overrides)
        refuse_several(found[0].experiment, len(found))
        return found[0]

    def _in_project(self, overrides: list[str]) -> tuple[str, list[str]]:
        """Name of the file with its settings, and all that is changed of it.

        Changes made it another name, or choose the variant whose folder was given.
        """
        require_project()
        if self.text.endswith(".yaml"):
            return self.text, overrides
        if self._is_name:
            name, changes = _last_run(self.text)
            return name, [*changes, *overrides]
        from shoal.plan.plan import VARIANTS
        from shoal.plan.variants import CHOICE

        folder, root = self.results.resolve(), _RESULTS.resolve()
        parts = folder.relative_to(root).parts if folder.is_relative_to(root) else ()
        match parts:
            case (name,):
                name, changes = _last_run(name)
                return name, [*changes, *overrides]
            case (name, folder_name, variant) if folder_name == VARIANTS:
                name, changes = _last_run(name)
                return name, [*changes, *overrides, f"{CHOICE}{variant}"]
        raise SettingsError(
            f"{self.text}: no results folder of this project; give an experiment's name, or its "
            f"folder, such as {_RESULTS / 'demo'}"
        )


def _last_run(name: str) -> tuple[str, list[str]]:
    """The experiment that a results folder is of, and what its last run changed.

    The folder is called as the experiment is, unless ``name`` was changed.

    Args:
        name: The folder's name.
    """
    from shoal.formats.documents.plan import PlanRecord
    from shoal.formats.json_file import read_made
    from shoal.plan.plan import PLAN, homes
    from shoal.plan.run_file import FOLDER, RunFile
    from shoal.plan.variants import CHOICE
    from shoal.settings.config_files import EXPERIMENT, choices

    root = _RESULTS / name
    if name in choices(CONFIG, EXPERIMENT) or not root.is_dir():
        return name, []
    last = [read_made(path, PlanRecord) for home in homes(root) if (path := home / PLAN).exists()]
    for file in sorted((root / FOLDER).glob("[!.]*.json")):
        record = RunFile(file).record
        if record["plan"] in last and record["plan"]["layout"]["root"] == str(root):
            changes = [each for each in record["overrides"] if not each.startswith(CHOICE)]
            return record["experiment"], changes
    return name, []


def _known(incomplete: str) -> list[str]:
    """Names of experiments that begin so, for the shell's completion."""
    from shoal.settings.config_files import EXPERIMENT, choices

    names = {*choices(CONFIG, EXPERIMENT), *(each.name for each in _RESULTS.glob("*"))}
    return sorted(name for name in names if name.startswith(incomplete))


_HELP = "an experiment's name, or its results folder"

ExperimentArgument = Annotated[
    Experiment,
    typer.Argument(parser=Experiment, metavar="EXPERIMENT", autocompletion=_known, help=_HELP),
]
PoolArgument = Annotated[
    Experiment,
    typer.Argument(
        parser=Experiment,
        metavar="EXPERIMENT",
        autocompletion=_known,
        help=f"{_HELP}, or the folder of a pool",
    ),
]
Overrides = Annotated[
    list[str], typer.Argument(help="changes of settings, such as cluster.partitions=12")
]
Trust = Annotated[
    list[str], typer.Option(help="module outside Shoal that the model may be imported from")
]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON document, for programs")]
Remove = Annotated[bool, typer.Option("--remove", help="remove what is listed")]
DEMO = Experiment("demo")


def require_project() -> None:
    """Refuse a current folder that holds no project.

    Raises:
        SettingsError: It has no settings.
    """
    if not CONFIG.is_dir():
        raise SettingsError(
            f"{Path.cwd()}: no folder {CONFIG} here; run this in the project's folder"
        )


@contextlib.contextmanager
def _config_with(experiment: str) -> Iterator[Path]:
    """The project's settings, with an experiment added if it lies in a file of its own.

    Args:
        experiment: A name, or a path that ends in ``.yaml``.

    Raises:
        SourceError: There is no such file.
        SettingsError: It is no file of settings.
    """
    from shoal.settings.config_files import EXPERIMENT, checked

    file = Path(experiment)
    if file.suffix != ".yaml":
        yield CONFIG
        return
    if not file.is_file():
        raise SourceError(f"{file}: no such file")
    checked(file)
    with tempfile.TemporaryDirectory() as scratch:
        for path in CONFIG.resolve().iterdir():
            if path.name != EXPERIMENT:
                Path(scratch, path.name).symlink_to(path)
        folder = Path(scratch, EXPERIMENT)
        folder.mkdir()
        shutil.copy(file, folder)
        yield Path(scratch)


def show(text: RenderableType) -> None:
    """Print a text or table of rich."""
    from rich.console import Console

    Console().print(text)
