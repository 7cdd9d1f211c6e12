"""Command import-stimulus, which people call once."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shoal.cli.options import experiment_at, require_project
from shoal.errors import SettingsError
from shoal.formats.files import replacing

if TYPE_CHECKING:
    from shoal.plan.variants import Variant


def import_stimulus(
    config: Annotated[Path, typer.Argument(help="a YAML or an older JSON config of stimulus")],
    data: Annotated[Path, typer.Argument(help="the file with the rows")],
    out: Annotated[Path, typer.Option(help="file to write, such as config/experiment/NAME.yaml")],
) -> None:
    """Write an experiment from a config of stimulus, and say what it could not carry over."""
    from shoal.explore.import_stimulus.experiment import imported

    if out.suffix != ".yaml":
        raise SettingsError(f"{out}: an experiment is a file whose name ends in .yaml")
    if out.exists():
        raise SettingsError(f"{out}: is there already; remove it, or choose another name")
    require_project()
    experiment = imported(config, data, out.stem)
    found = _composed(experiment.text, out)
    with replacing(out) as aside:
        aside.write_text(experiment.text, encoding="utf-8")
    for note in experiment.notes:
        typer.echo(f"not carried over: {note}")
    typer.echo(f"{_counted(found)}: {out}")


def _composed(text: str, out: Path) -> list[Variant]:
    """The variants of an experiment that is not written yet: only one that composes will be."""
    from shoal.plan.variants import variants

    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, out.name)
        file.write_text(text, encoding="utf-8")
        with experiment_at(str(file)) as (name, config):
            return variants(config, name, [])


def _counted(found: list[Variant]) -> str:
    """How many choices each stage has, and how many variants that makes."""
    from shoal.formats.hashing import canonical_json

    counts = []
    for stage in ("split", "transform", "encode"):
        distinct = {canonical_json(getattr(each.settings, stage).as_json()) for each in found}
        counts.append(f"{len(distinct)} {stage}")
    noun = "variant" if len(found) == 1 else "variants"
    return f"{' × '.join(counts)} = {len(found)} {noun}"
